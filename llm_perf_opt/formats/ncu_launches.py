"""Profiled launches that ncu left, whichever file and page they are in; values in base units."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

from llm_perf_opt.errors import StageError
from llm_perf_opt.formats.ncu_csv import csv_rows, profiled_in, raw_page, table_lines
from llm_perf_opt.formats.ncu_details import metric_name
from llm_perf_opt.formats.ncu_raw import Profiled, RawPage, number, text
from llm_perf_opt.formats.ncu_units import to_base
from llm_perf_opt.records.kernels import Launch

GPU_NAME = "device__attribute_display_name"
Wanted = Callable[[str], bool]
"""Whether a metric of this name is read at all; a raw page may have hundreds."""

_EXPECTED = "expected a CSV of ncu: --page raw --csv, or --page details --csv"


class ForeignTableError(StageError):
    """A readable file that is not one of ncu's."""


def csv_launches(lines: Iterable[str], source: str, wanted: Wanted) -> Iterator[Launch]:
    """The launches of one CSV of ncu, in its order, each as soon as it is complete.

    Args:
        lines: text lines, read once; ncu's messages may stand before and between them.
        source: what the launches say they are from.

    Raises:
        StageError: the table is empty, or ends in the middle of a launch; those before it were yielded.
        ForeignTableError: there is no table of ncu in it.
    """
    stream = table_lines(lines)
    header = next(stream, None)
    if header is None:
        raise ForeignTableError(f"{source} has no table of ncu in it", _EXPECTED)
    table = itertools.chain([header], stream)
    if '"Metric Name"' in header or ",Metric Name," in header:
        yield from _some(_details(table, source, wanted), source)
    else:
        yield from raw_launches(raw_page(table, source), source, wanted)


def raw_launches(page: RawPage, source: str, wanted: Wanted) -> Iterator[Launch]:
    """The launches of a raw page, like those of a CSV.

    Raises:
        StageError: there are none, or it ends in the middle of one.
    """
    yield from _some(_raw(page, source, wanted), source)


def _some(launches: Iterator[Launch], source: str) -> Iterator[Launch]:
    first = next(launches, None)
    if first is None:
        raise StageError(f"{source} has the header of a table and no launches", "profile again: nothing was profiled")
    yield first
    yield from launches


def _raw(page: RawPage, source: str, wanted: Wanted) -> Iterator[Launch]:
    columns = [(name, at, to_base(page.units[name])) for name, at in page.metrics.items() if wanted(name)]
    gpu_at = page.metrics.get(GPU_NAME)
    for row in page.rows:
        if row.cut_off:
            raise _cut_off(source, row.profiled.id)
        values = {name: value * factor for name, at, factor in columns if (value := number(row.value(at))) is not None}
        yield _launch(row.profiled, source, values, "" if gpu_at is None else text(row.value(gpu_at)))


def _details(lines: Iterable[str], source: str, wanted: Wanted) -> Iterator[Launch]:
    reader = csv_rows(lines, source)
    columns = {name: index for index, name in enumerate(next(reader))}
    absent = [name for name in _DETAILS if name not in columns]
    if absent:
        raise ForeignTableError(f"{source} has no column {absent[0]}", _EXPECTED)
    section_at, name_at, unit_at, value_at = (columns[name] for name in _DETAILS)
    item_at = columns.get("Body Item Label")
    key_at = [columns[name] for name in ("Process ID", "ID") if name in columns]
    profiled = profiled_in(columns)
    rows = (row for row in reader if row)
    for _, group in itertools.groupby(rows, key=lambda row: [row[at : at + 1] for at in key_at]):
        values: dict[str, float] = {}
        for row in group:
            if len(row) <= value_at:
                raise _cut_off(source, row[0])
            name = metric_name(row[section_at], row[item_at] if item_at is not None else "", row[name_at])
            value = number(row[value_at]) if name is not None and wanted(name) else None
            if name is not None and value is not None:
                values.setdefault(name, value * to_base(row[unit_at]))
        yield _launch(profiled(row), source, values)


_DETAILS = ("Section Name", "Metric Name", "Metric Unit", "Metric Value")


def _launch(profiled: Profiled, source: str, metrics: dict[str, float], gpu: str = "") -> Launch:
    return Launch(
        source=source,
        process_id=profiled.process_id,
        id=profiled.id,
        kernel=profiled.name,
        grid=profiled.grid,
        block=profiled.block,
        device=profiled.device,
        compute_capability=profiled.compute_capability,
        metrics=metrics,
        gpu=gpu or None,
    )


def _cut_off(source: str, launch: str) -> StageError:
    return StageError(f"{source} ends in the middle of launch {launch}", "export it again from its report")
