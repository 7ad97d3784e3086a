"""Profiled launches in a CSV that ncu exported, whichever page it is of; values in base units."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from llm_perf_opt.errors import StageError
from llm_perf_opt.formats.ncu_details import metric_name
from llm_perf_opt.formats.ncu_export import RawPage, csv_rows, number
from llm_perf_opt.formats.ncu_scale import to_base
from llm_perf_opt.records.kernels import Launch

GPU_NAME = "device__attribute_display_name"
Wanted = Callable[[str], bool]
"""Whether a metric of this name is read at all; a raw page may have hundreds."""

_EXPECTED = "expected a CSV of ncu: --page raw --csv, or --page details --csv"


class ForeignTableError(StageError):
    """A readable file that is not one of ncu's."""


def read_launches(lines: Iterable[str], source: str, wanted: Wanted) -> Iterator[Launch]:
    """The launches of one export, in its order, each as soon as it is complete.

    Args:
        lines: text lines, read once; ncu's messages may stand before and between them.
        source: what the launches say they are from.

    Raises:
        StageError: the table is empty, or ends in the middle of a launch; those before it were yielded.
        ForeignTableError: there is no table of ncu in it.
    """
    stream = _from_header(iter(lines))
    header = next(stream, None)
    if header is None:
        raise ForeignTableError(f"{source} has no table of ncu in it", _EXPECTED)
    details = '"Metric Name"' in header or ",Metric Name," in header
    read = _details if details else _raw
    found = False
    for launch in read(itertools.chain([header], stream), source, wanted):
        found = True
        yield launch
    if not found:
        raise StageError(f"{source} has the header of a table and no launches", "profile again: nothing was profiled")


def _from_header(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if line.startswith(('"ID",', "ID,")):
            yield line
            break
    yield from (line for line in lines if not line.startswith("=="))


def _raw(lines: Iterable[str], source: str, wanted: Wanted) -> Iterator[Launch]:
    page = RawPage(lines, source)
    columns = [(name, index, to_base(page.units[index])) for name, index in page.metrics.items() if wanted(name)]
    last_identity = max((index for name, index in page.columns.items() if name not in page.metrics), default=0)
    for row in page.rows():
        if len(row) <= last_identity:
            raise _cut_off(source, row[0])
        values = {
            name: value * factor
            for name, index, factor in columns
            if index < len(row) and (value := number(row[index])) is not None
        }
        yield _launch(row, page.columns, source, values)


def _details(lines: Iterable[str], source: str, wanted: Wanted) -> Iterator[Launch]:
    reader = csv_rows(lines, source)
    columns = {name: index for index, name in enumerate(next(reader))}
    absent = [name for name in _DETAILS if name not in columns]
    if absent:
        raise ForeignTableError(f"{source} has no column {absent[0]}", _EXPECTED)
    section_at, name_at, unit_at, value_at = (columns[name] for name in _DETAILS)
    item_at = columns.get("Body Item Label")
    key_at = [columns[name] for name in ("Process ID", "ID") if name in columns]
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
        yield _launch(row, columns, source, values)


_DETAILS = ("Section Name", "Metric Name", "Metric Unit", "Metric Value")


def _launch(row: Sequence[str], columns: Mapping[str, int], source: str, metrics: dict[str, float]) -> Launch:
    def cell(name: str) -> str:
        index = columns.get(name)
        return row[index] if index is not None and index < len(row) else ""

    return Launch(
        source=source,
        process_id=cell("Process ID"),
        id=cell("ID"),
        kernel=cell("Kernel Name") or cell("Range Name"),
        grid=cell("Grid Size"),
        block=cell("Block Size"),
        device=cell("Device"),
        compute_capability=cell("CC"),
        metrics=metrics,
        gpu=cell(GPU_NAME) or None,
    )


def _cut_off(source: str, launch: str) -> StageError:
    return StageError(f"{source} ends in the middle of launch {launch}", "export it again from its report")
