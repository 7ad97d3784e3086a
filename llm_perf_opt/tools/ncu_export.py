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


def read_raw(lines: Iterable[str]) -> NcuFacts:
    """Facts of a raw export.

    Args:
        lines: the export, as text lines; read once and not kept.

    Raises:
        StageError: there is no header, so this is no raw export (it may be ncu's message that nothing was profiled).
    """
    reader = csv.reader(_from_header(lines))
    header = next(reader, None)
    if header is None:
        raise StageError("the ncu export has no table", "look at the messages of ncu in its log")
    columns = {name: index for index, name in enumerate(header)}
    metrics = [index for index, name in enumerate(header) if name not in IDENTITY and "_Range:" not in name]
    units = [""] * len(header)
    names: dict[str, None] = {}
    processes: Counter[tuple[int, str]] = Counter()
    results = 0
    with_value: set[int] = set()
    for row in reader:
        if not row or row[0].startswith("=="):
            continue
        if not row[0]:
            units = [*row, *units[len(row) :]]
            continue
        results += 1
        names.setdefault(_cell(row, columns, "Kernel Name") or _cell(row, columns, "Range Name"))
        if (pid := _cell(row, columns, "Process ID")).isdigit():
            processes[int(pid), _cell(row, columns, "Process Name")] += 1
        with_value.update(index for index in metrics if index < len(row) and row[index].strip() not in NO_VALUE)
    return NcuFacts(
        results=results,
        kernels=tuple(name for name in names if name),
        processes=tuple(
            NcuProcess(pid=pid, name=name or None, results=count)
            for (pid, name), count in sorted(processes.items(), key=lambda item: (-item[1], item[0]))
        ),
        metrics=tuple(NcuMetric(name=header[index], unit=units[index]) for index in metrics),
        empty_metrics=tuple(header[index] for index in metrics if index not in with_value) if results else (),
    )


HEADLINES = (
    "gpu__time_duration.sum",
    "sm__throughput.avg.pct_of_peak_sustained_elapsed",
    "dram__throughput.avg.pct_of_peak_sustained_elapsed",
    "dram__bytes_read.sum",
    "dram__bytes_write.sum",
)
"""Metrics that are kept of every result, where the report has them, beside those that were asked for."""


def read_results(lines: Iterable[str], asked: Sequence[str], most: int) -> tuple[NcuResult, ...]:
    """The first `most` results of a raw export with their values of the asked metrics and of `HEADLINES`.

    Values are as ncu exports them, in the unit of their column.
    """
    reader = csv.reader(_from_header(lines))
    header = next(reader, [])
    columns = {name: index for index, name in enumerate(header)}
    wanted = [name for name in dict.fromkeys([*asked, *HEADLINES]) if name in columns]
    rows = (row for row in reader if row and row[0].isdigit())
    return tuple(
        NcuResult(
            id=int(row[0]),
            name=_cell(row, columns, "Kernel Name") or _cell(row, columns, "Range Name"),
            values={name: _number(_cell(row, columns, name)) for name in wanted},
        )
        for row in itertools.islice(rows, most)
    )


def table_lines(lines: Iterable[str]) -> Iterator[str]:
    """A raw export without the messages of ncu around it."""
    return (line for line in _from_header(lines) if not line.startswith("=="))


def _number(text: str) -> float | None:
    try:
        return None if text.strip() in NO_VALUE else float(text.replace(",", ""))
    except ValueError:
        return None


def _cell(row: list[str], columns: dict[str, int], name: str) -> str:
    index = columns.get(name)
    return row[index] if index is not None and index < len(row) else ""


def _from_header(lines: Iterable[str]) -> Iterator[str]:
    started = False
    for line in lines:
        started = started or line.startswith(('"ID",', "ID,"))
        if started:
            yield line
