"""Profiled launches that ncu left, whichever file and page they are in; values in base units."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from llm_perf_opt.errors import StageError
from llm_perf_opt.formats.ncu_csv import Table, table_page, tables
from llm_perf_opt.formats.ncu_details import NoDetailsError, cut_off, details_launches, is_details
from llm_perf_opt.formats.ncu_raw import Profiled, RawPage, share, text
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
        StageError: a table is empty, or ends in the middle of a launch; those before it were yielded.
        MisspeltError: a number is not as ncu writes them; those before it cannot be believed.
        ForeignTableError: there is no table of ncu in it.
    """
    found = tables(lines, source)
    first = next(found, None)
    if first is None:
        raise ForeignTableError(f"{source} has no table of ncu in it", _EXPECTED)
    for table in itertools.chain([first], found):
        yield from _some(_table(table, source, wanted), source)


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


def _table(table: Table, source: str, wanted: Wanted) -> Iterator[Launch]:
    if not is_details(table.header):
        yield from _raw(table_page(table), source, wanted)
        return
    try:
        for found in details_launches(table, source, wanted):
            values = {name: value for name, value in found.values.items() if value is not None}
            yield replace(_launch(found.profiled, source, values), rules=found.rules, remarks=found.remarks)
    except NoDetailsError as error:
        raise ForeignTableError(error.message, _EXPECTED) from error


def _raw(page: RawPage, source: str, wanted: Wanted) -> Iterator[Launch]:
    columns = [(name, at, page.units[name]) for name, at in page.metrics.items() if wanted(name)]
    gpu_at = page.metrics.get(GPU_NAME)
    for row in page.rows:
        if row.cut_off:
            raise cut_off(source, row.profiled.id)
        remarks: list[str] = []
        values = {
            name: value * to_base(unit)
            for name, at, unit in columns
            if (value := share(name, unit, row.number(at), row.place, remarks)) is not None
        }
        gpu = "" if gpu_at is None else text(row.value(gpu_at))
        launch = _launch(row.profiled, source, values)
        yield replace(launch, gpu=gpu or None, rules=list(row.rules), remarks=remarks)


def _launch(profiled: Profiled, source: str, metrics: dict[str, float]) -> Launch:
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
    )
