"""The CSVs that ncu prints (`--csv`); its own messages (`==PROF== …`) may stand before and between the rows.

A raw page has one column per metric; the row after the header carries the units and has no ID.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from llm_perf_opt.errors import StageError
from llm_perf_opt.formats.ncu_raw import Profiled, RawPage, RawRow

IDENTITY = (
    "ID",
    "Process ID",
    "Process Name",
    "Host Name",
    "Kernel Name",
    "Context",
    "Stream",
    "Block Size",
    "Grid Size",
    "Device",
    "CC",
)
"""Columns that say which launch a row is of: those of `Profiled`, in its order."""
RANGE_NAME = "Range Name"
# What follows them are metrics. NVTX columns (`…Push/Pop_Range…`) are none either, and lie between.
NO_METRICS = frozenset({*IDENTITY, "Kernel Time", RANGE_NAME})


def raw_page(lines: Iterable[str], called: str = "the ncu export") -> RawPage:
    """The raw page in these lines, which are read once and not kept.

    Args:
        called: what errors call it.

    Raises:
        StageError: there is no header, so this is no raw page (it may be ncu's message that nothing was profiled);
            also while rows are read, where it breaks off inside a value.
    """
    reader = csv_rows(table_lines(lines), called)
    header = next(reader, None)
    if header is None:
        raise StageError(f"{called} has no table", "look at the messages of ncu in its log")
    columns = {name: index for index, name in enumerate(header)}
    metrics = {name: index for name, index in columns.items() if name not in NO_METRICS and "_Range:" not in name}
    rows = (row for row in reader if row)
    first = next(rows, [""])
    units = [] if first[0] else first
    return RawPage(
        metrics=metrics,
        units={name: units[index] if index < len(units) else "" for name, index in metrics.items()},
        rows=_rows(itertools.chain([first], rows), columns, columns.keys() - metrics.keys()),
    )


def _rows(rows: Iterable[list[str]], columns: Mapping[str, int], identity: Iterable[str]) -> Iterator[RawRow]:
    profiled = profiled_in(columns)
    last_identity = max(columns[name] for name in identity)
    for row in rows:
        if row[0]:
            yield RawRow(profiled(row), row, cut_off=len(row) <= last_identity)


def profiled_in(columns: Mapping[str, int]) -> Callable[[Sequence[str]], Profiled]:
    """What finds in a row of these columns which launch it is of."""
    positions = [columns.get(name, -1) for name in (*IDENTITY, RANGE_NAME)]

    def find(row: Sequence[str]) -> Profiled:
        *cells, range_name = (row[position] if 0 <= position < len(row) else "" for position in positions)
        found = Profiled(*cells)
        return found if found.name else found._replace(name=range_name)

    return find


def table_lines(lines: Iterable[str]) -> Iterator[str]:
    """The lines of the table, without the messages of ncu around it."""
    started = False
    for line in lines:
        started = started or line.startswith(('"ID",', "ID,"))
        if started and not line.startswith("=="):
            yield line


def csv_rows(lines: Iterable[str], called: str) -> Iterator[list[str]]:
    """The rows of a CSV of ncu; a StageError where it breaks off inside a value."""
    try:
        # A value that breaks off would otherwise pass for a smaller one.
        yield from csv.reader(lines, strict=True)
    except csv.Error as error:
        raise StageError(f"{called} is not a whole CSV: {error}", "export it again from its report") from error
