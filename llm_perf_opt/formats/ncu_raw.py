"""The raw page of an ncu report: one row per profiled launch or range, one column per metric.

Rows come from the report itself (`ncu_rep`) or from the CSV that ncu prints of it (`ncu_csv`), and are read alike.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from llm_perf_opt.records.tools import NcuFacts, NcuMetric, NcuProcess, NcuResult

Value = str | int | float | None
"""Of a metric; a CSV has texts, a report numbers and texts. None where the result does not have the metric."""

NO_VALUE = frozenset({"", "n/a", "(!) n/a", "nan"})


class Profiled(NamedTuple):
    """Which launch or range a result is of, in ncu's spelling; empty where the source does not say."""

    id: str
    process_id: str
    process_name: str
    host: str
    name: str
    """The kernel, or the range that was profiled as a whole."""
    context: str
    stream: str
    block: str
    grid: str
    device: str
    compute_capability: str


class RawRow(NamedTuple):
    """One result."""

    profiled: Profiled
    cells: Sequence[Value]
    """May end before the last metric."""
    cut_off: bool = False
    """It ends before it has said which launch it is of."""

    def value(self, position: int) -> Value:
        return self.cells[position] if position < len(self.cells) else None


@dataclass(frozen=True)
class RawPage:
    """A raw page that is being read."""

    metrics: dict[str, int]
    """Name → position among the cells of a row."""
    units: dict[str, str]
    """Of every metric, in the order of `metrics`; empty where the source has no unit."""
    rows: Iterator[RawRow]
    """May be read once; broken sources are found out here too."""


HEADLINES = (
    "gpu__time_duration.sum",
    "sm__throughput.avg.pct_of_peak_sustained_elapsed",
    "gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed",
    "dram__throughput.avg.pct_of_peak_sustained_elapsed",
    "dram__bytes_read.sum",
    "dram__bytes_write.sum",
)
"""Metrics that are kept of every result, where the report has them, beside those that were asked for."""


def read_results(page: RawPage, asked: Sequence[str] = (), most: int = 0) -> tuple[NcuFacts, tuple[NcuResult, ...]]:
    """Facts of a whole page, and its first `most` results with their values of the asked metrics and of `HEADLINES`.

    Values are in the unit of their column.
    """
    wanted = {name: page.metrics[name] for name in dict.fromkeys([*asked, *HEADLINES]) if name in page.metrics}
    names: dict[str, None] = {}
    processes: Counter[tuple[int, str]] = Counter()
    without_value = dict(page.metrics)
    results: list[NcuResult] = []
    count = 0
    for row in page.rows:
        count += 1
        who = row.profiled
        names.setdefault(who.name)
        if who.process_id.isdigit():
            processes[int(who.process_id), who.process_name] += 1
        for name in [name for name, position in without_value.items() if has_value(row.value(position))]:
            del without_value[name]
        if len(results) < most and who.id.isdigit():
            values = {name: number(row.value(position)) for name, position in wanted.items()}
            results.append(NcuResult(id=int(who.id), name=who.name, values=values))
    facts = NcuFacts(
        results=count,
        kernels=tuple(name for name in names if name),
        processes=tuple(
            NcuProcess(pid=pid, name=name or None, results=found)
            for (pid, name), found in sorted(processes.items(), key=lambda item: (-item[1], item[0]))
        ),
        metrics=tuple(NcuMetric(name=name, unit=unit) for name, unit in page.units.items()),
        empty_metrics=tuple(without_value) if count else (),
    )
    return facts, tuple(results)


def has_value(value: Value) -> bool:
    """Whether a cell says anything."""
    if isinstance(value, str):
        return value.strip() not in NO_VALUE
    return value is not None and not math.isnan(value)


def number(value: Value) -> float | None:
    """A cell as a number, of a text as ncu prints it, thousands separators and all; None where it is none."""
    if not has_value(value):
        return None
    if not isinstance(value, str):
        return None if value is None else float(value)
    try:
        return float(value.replace(",", ""))
    except ValueError:
        return None


def text(value: Value) -> str:
    """A cell as text, with all digits of a number; empty where there is none."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return "" if value is None else str(value)
