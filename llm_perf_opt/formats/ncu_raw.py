"""The raw page of an ncu report: one row per profiled launch or range, one column per metric.

Rows come from the report itself (`ncu_rep`) or from the CSV that ncu prints of it (`ncu_csv`), and are read alike.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from llm_perf_opt.errors import StageError
from llm_perf_opt.formats.ncu_units import base_unit
from llm_perf_opt.records.kernels import RuleResult
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


class MisspeltError(StageError):
    """A number that is not written as ncu writes it, so that no number of the file can be believed."""

    def at(self, place: str) -> MisspeltError:
        return MisspeltError(f"{place}: {self.message}", self.remedy)


class RawRow(NamedTuple):
    """One result."""

    profiled: Profiled
    cells: Sequence[Value]
    """May end before the last metric."""
    cut_off: bool = False
    """It ends before it has said which launch it is of."""
    line: int | None = None
    """Of a CSV; None where the source has no lines."""
    rules: tuple[RuleResult, ...] = ()

    @property
    def place(self) -> str:
        return f"result {self.profiled.id}" if self.line is None else f"line {self.line}"

    def value(self, position: int) -> Value:
        return self.cells[position] if position < len(self.cells) else None

    def number(self, position: int) -> float | None:
        """A cell as a number; a MisspeltError names the line."""
        try:
            return number(self.value(position))
        except MisspeltError as error:
            raise error.at(self.place) from None


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
    "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed",
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
    remarks: list[str] = []
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
            values = {
                name: share(name, page.units[name], row.number(position), row.place, remarks)
                for name, position in wanted.items()
            }
            results.append(NcuResult(id=int(who.id), name=who.name, values=values, rules=row.rules))
    facts = NcuFacts(
        results=count,
        kernels=tuple(name for name in names if name),
        processes=tuple(
            NcuProcess(pid=pid, name=name or None, results=found)
            for (pid, name), found in sorted(processes.items(), key=lambda item: (-item[1], item[0]))
        ),
        metrics=tuple(NcuMetric(name=name, unit=unit) for name, unit in page.units.items()),
        empty_metrics=tuple(without_value) if count else (),
        remarks=tuple(remarks),
    )
    return facts, tuple(results)


def has_value(value: Value) -> bool:
    """Whether a cell says anything."""
    if isinstance(value, str):
        return value.strip().lower() not in NO_VALUE
    return value is not None and not math.isnan(value)


_THOUSANDS = re.compile(r"[-+]?\d{1,3}(,\d{3})*(\.\d*)?(e[-+]?\d+)?", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE | re.ASCII)
_COMMAS = re.compile(r"[-+]?(?=[.,]*\d)[\d.]*(,[\d.]*)+(e[-+]?\d+)?", re.IGNORECASE)


def number(value: Value) -> float | None:
    """A cell as a number, of a text as ncu prints it, thousands separators and all; None where it is none.

    Raises:
        MisspeltError: it is one with a decimal comma.
    """
    if not has_value(value):
        return None
    if not isinstance(value, str):
        return None if value is None else _finite(float(value))
    if "," in value and not _THOUSANDS.fullmatch(value):
        if _COMMAS.fullmatch(value):
            raise MisspeltError(
                f"{value} is not a number as ncu prints it (a decimal comma?)",
                "export it again from its report, and leave the CSV as it is",
            )
        return None
    plain = value.replace(",", "").strip()
    # Python reads `1_0`, digits of other scripts and `+nan` as numbers too.
    return _finite(float(plain)) if _NUMBER.fullmatch(plain) else None


def _finite(value: float) -> float | None:
    """No measured amount is infinite."""
    return value if math.isfinite(value) else None


MOST_PCT = 105.0
"""Counters of several passes can add up to a little more than all; above this a share is not one."""


def share(name: str, unit: str, value: float | None, place: str, remarks: list[str]) -> float | None:
    """The value, unless it is a share that cannot be; a remark says what is wrong with it."""
    if value is None or value <= 100 or "%" not in (unit, base_unit(name)):
        return value
    if value <= MOST_PCT:
        remarks.append(f"{place}: {name} is {value:.2f} %, more than all: its counters are of several passes")
        return value
    remarks.append(f"{place}: {name} is {value:,.2f} %, which no share can be: left out")
    return None


def text(value: Value) -> str:
    """A cell as text, with all digits of a number; empty where there is none."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return "" if value is None else str(value)
