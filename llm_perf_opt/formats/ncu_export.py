"""What an ncu raw export (`--import … --csv --page raw`) holds: enough to judge the run.

One row per profiled launch or range, one column per metric; the row after the header carries the units and has no ID.
ncu's own messages (`==PROF== …`) may stand before the header.
"""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from llm_perf_opt.errors import StageError
from llm_perf_opt.records.tools import NcuFacts, NcuMetric, NcuProcess, NcuResult

# Columns that say which launch a row is of; what follows them are metrics. NVTX columns (`…Push/Pop_Range…`) are
# of the first kind and lie between.
IDENTITY = frozenset(
    {
        "ID",
        "Process ID",
        "Process Name",
        "Host Name",
        "Kernel Name",
        "Kernel Time",
        "Range Name",
        "Context",
        "Stream",
        "Block Size",
        "Grid Size",
        "Device",
        "CC",
    }
)
NO_VALUE = frozenset({"", "n/a", "(!) n/a", "nan"})


class RawPage:
    """A raw export that is being read: its columns and units at once, its results row by row.

    Args:
        lines: the export, as text lines; read once and not kept.
        called: what errors call it.

    Raises:
        StageError: there is no header, so this is no raw export (it may be ncu's message that nothing was profiled);
            also while rows are read, where it breaks off inside a value.
    """

    def __init__(self, lines: Iterable[str], called: str = "the ncu export") -> None:
        reader = csv_rows(_from_header(lines), called)
        header = next(reader, None)
        if header is None:
            raise StageError(f"{called} has no table", "look at the messages of ncu in its log")
        self.columns = {name: index for index, name in enumerate(header)}
        """Name → position."""
        self.metrics = {name: index for name, index in self.columns.items() if _is_metric(name)}
        rows = (row for row in reader if row and not row[0].startswith("=="))
        first = next(rows, [""])
        units = [] if first[0] else first
        self._rows = itertools.chain([first], rows)
        self.units = [*units, *[""] * (len(header) - len(units))]
        """By position; empty where the export has no unit."""

    def rows(self) -> Iterator[list[str]]:
        """The results; may be read once."""
        return (row for row in self._rows if row[0])

    def cell(self, row: Sequence[str], name: str) -> str:
        """Empty where there is no such column, or the row ends before it."""
        index = self.columns.get(name)
        return row[index] if index is not None and index < len(row) else ""

    def result_name(self, row: Sequence[str]) -> str:
        """The kernel, or the range that was profiled as a whole."""
        return self.cell(row, "Kernel Name") or self.cell(row, "Range Name")


def csv_rows(lines: Iterable[str], called: str) -> Iterator[list[str]]:
    """The rows of a CSV of ncu; a StageError where it breaks off inside a value."""
    try:
        # A value that breaks off would otherwise pass for a smaller one.
        yield from csv.reader(lines, strict=True)
    except csv.Error as error:
        raise StageError(f"{called} is not a whole CSV: {error}", "export it again from its report") from error


def _is_metric(name: str) -> bool:
    return name not in IDENTITY and "_Range:" not in name


def read_raw(lines: Iterable[str]) -> NcuFacts:
    """Facts of a raw export.

    Raises:
        StageError: it is none.
    """
    page = RawPage(lines)
    names: dict[str, None] = {}
    processes: Counter[tuple[int, str]] = Counter()
    results = 0
    with_value: set[str] = set()
    for row in page.rows():
        results += 1
        names.setdefault(page.result_name(row))
        if (pid := page.cell(row, "Process ID")).isdigit():
            processes[int(pid), page.cell(row, "Process Name")] += 1
        with_value.update(
            name for name, index in page.metrics.items() if index < len(row) and row[index].strip() not in NO_VALUE
        )
    return NcuFacts(
        results=results,
        kernels=tuple(name for name in names if name),
        processes=tuple(
            NcuProcess(pid=pid, name=name or None, results=count)
            for (pid, name), count in sorted(processes.items(), key=lambda item: (-item[1], item[0]))
        ),
        metrics=tuple(NcuMetric(name=name, unit=page.units[index]) for name, index in page.metrics.items()),
        empty_metrics=tuple(name for name in page.metrics if name not in with_value) if results else (),
    )


HEADLINES = (
    "gpu__time_duration.sum",
    "sm__throughput.avg.pct_of_peak_sustained_elapsed",
    "gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed",
    "dram__throughput.avg.pct_of_peak_sustained_elapsed",
    "dram__bytes_read.sum",
    "dram__bytes_write.sum",
)
"""Metrics that are kept of every result, where the report has them, beside those that were asked for."""


def read_results(lines: Iterable[str], asked: Sequence[str], most: int) -> tuple[NcuResult, ...]:
    """The first `most` results of a raw export with their values of the asked metrics and of `HEADLINES`.

    Values are as ncu exports them, in the unit of their column.
    """
    page = RawPage(lines)
    wanted = [name for name in dict.fromkeys([*asked, *HEADLINES]) if name in page.columns]
    rows = (row for row in page.rows() if row[0].isdigit())
    return tuple(
        NcuResult(
            id=int(row[0]),
            name=page.result_name(row),
            values={name: number(page.cell(row, name)) for name in wanted},
        )
        for row in itertools.islice(rows, most)
    )


def table_lines(lines: Iterable[str]) -> Iterator[str]:
    """A raw export without the messages of ncu around it."""
    return (line for line in _from_header(lines) if not line.startswith("=="))


def number(text: str) -> float | None:
    """A value as ncu prints it, thousands separators and all; None where it has none."""
    try:
        return None if text.strip() in NO_VALUE else float(text.replace(",", ""))
    except ValueError:
        return None


def _from_header(lines: Iterable[str]) -> Iterator[str]:
    started = False
    for line in lines:
        started = started or line.startswith(('"ID",', "ID,"))
        if started:
            yield line
