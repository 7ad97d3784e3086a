"""The CSVs that ncu prints (`--csv`); its own messages (`==PROF== …`) may stand before and between the rows.

A raw page has one column per metric; the row after the header carries the units and has no ID. A file may hold more
than one table, each under its own header: output that was appended to, or several exports joined.
"""

from __future__ import annotations

import csv
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

from llm_perf_opt.errors import StageError
from llm_perf_opt.formats.ncu_raw import Profiled, RawPage, RawRow

ID = "ID"
IDENTITY = (
    ID,
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


@dataclass(frozen=True)
class Table:
    """One header and the rows up to the next."""

    line: int
    """Of the header; the first line of a file is 1."""
    header: list[str]
    rows: Iterator[tuple[int, list[str]]]
    """Line and cells; may be read once, and before the next table is asked for."""


def tables(lines: Iterable[str], called: str) -> Iterator[Table]:
    """The tables in these lines, which are read once and not kept.

    Args:
        called: what errors call it.

    Raises:
        StageError: while rows are read, where it breaks off inside a value.
    """
    groups = itertools.groupby(_numbered(lines, called), key=itemgetter(0))
    for _, rows in groups:
        _, line, header = next(rows)
        yield Table(line, header, ((number, row) for _, number, row in rows if row))


def _numbered(lines: Iterable[str], called: str) -> Iterator[tuple[int, int, list[str]]]:
    """Which table, which line, and the cells."""
    number, table = 0, 0

    def counted() -> Iterator[str]:
        nonlocal number
        for number, line in _of_tables(lines):  # noqa: B007 - the number is that of the row that the line ends
            yield line

    try:
        # A value that breaks off would otherwise pass for a smaller one.
        for row in csv.reader(counted(), strict=True):
            table += row[:1] == [ID]
            yield table, number, row
    except csv.Error as error:
        raise StageError(f"{called} is not a whole CSV: {error}", "export it again from its report") from error


def table_lines(lines: Iterable[str]) -> Iterator[str]:
    """The lines of the tables, without the messages of ncu around them."""
    return (line for _, line in _of_tables(lines))


def _of_tables(lines: Iterable[str]) -> Iterator[tuple[int, str]]:
    started = False
    for number, line in enumerate(lines, 1):
        started = started or line.startswith(('"ID",', "ID,"))
        if started and not line.startswith("=="):
            yield number, line


def raw_page(lines: Iterable[str], called: str = "the ncu export") -> RawPage:
    """The raw page in these lines, which are read once and not kept.

    Args:
        called: what errors call it.

    Raises:
        StageError: there is no header, so this is no raw page (it may be ncu's message that nothing was profiled);
            also while rows are read, where it breaks off inside a value, has a second table of other columns, or two
            rows of one launch.
    """
    found = tables(lines, called)
    first = next(found, None)
    if first is None:
        raise StageError(f"{called} has no table", "look at the messages of ncu in its log")
    page = table_page(first)
    return dataclasses.replace(page, rows=_joined(page, found))


def _joined(page: RawPage, more: Iterator[Table]) -> Iterator[RawRow]:
    known: dict[int, None] = {}
    yield from _new(page.rows, known)
    for table in more:
        other = table_page(table)
        if (other.metrics, other.units) != (page.metrics, page.units):
            raise StageError(
                f"line {table.line} begins a second table, of other columns", "split the file there; import each alone"
            )
        yield from _new(other.rows, known)


def _new(rows: Iterator[RawRow], known: dict[int, None]) -> Iterator[RawRow]:
    """Without the rows that were there already."""
    for row in rows:
        same = hash((row.profiled, *row.cells))
        if same not in known:
            known[same] = None
            yield row


def table_page(table: Table) -> RawPage:
    """One table of a raw page."""
    columns = {name: index for index, name in enumerate(table.header)}
    metrics = {name: index for name, index in columns.items() if name not in NO_METRICS and "_Range:" not in name}
    first = next(table.rows, (table.line, [""]))
    units = [] if first[1][0] else first[1]
    return RawPage(
        metrics=metrics,
        units={name: units[index] if index < len(units) else "" for name, index in metrics.items()},
        rows=_rows(itertools.chain([first], table.rows), columns, columns.keys() - metrics.keys()),
    )


def _rows(
    rows: Iterable[tuple[int, list[str]]], columns: Mapping[str, int], identity: Iterable[str]
) -> Iterator[RawRow]:
    profiled = profiled_in(columns)
    last_identity = max(columns[name] for name in identity)
    seen: dict[tuple[str, ...], tuple[int, int]] = {}
    for line, row in rows:
        if not row[0]:
            continue
        found = RawRow(profiled(row), row, cut_off=len(row) <= last_identity, line=line)
        who, content = found.profiled, hash(tuple(row))
        key = (who.host, who.process_id, who.id)
        first, before = seen.setdefault(key, (line, content))
        if before != content:
            raise two_rows(line, who, first)
        if first == line:
            yield found


def two_rows(line: int, profiled: Profiled, first: int) -> StageError:
    """The error for a launch that a table has twice, and not alike."""
    launch = f"launch {profiled.id} of process {profiled.process_id}" if profiled.process_id else profiled.id
    return StageError(
        f"line {line} has {launch} again, with other values than line {first}", "export it again from its report"
    )


def profiled_in(columns: Mapping[str, int]) -> Callable[[Sequence[str]], Profiled]:
    """What finds in a row of these columns which launch it is of."""
    positions = [columns.get(name, -1) for name in (*IDENTITY, RANGE_NAME)]

    def find(row: Sequence[str]) -> Profiled:
        *cells, range_name = (row[position] if 0 <= position < len(row) else "" for position in positions)
        found = Profiled(*cells)
        return found if found.name else found._replace(name=range_name)

    return find
