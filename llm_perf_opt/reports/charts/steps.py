"""Every decode step over the length of the cache."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from llm_perf_opt.analysis.statistics import percentile
from llm_perf_opt.reports.document import Chart, Table
from llm_perf_opt.reports.units import significant

MOST_POINTS = 4_000
BINS, ROWS = 60, 15
"""Points of the line, and rows of the table, where lengths are grouped."""

StepTimes = Mapping[int, Sequence[float]]
"""Tokens in the cache before a step → times of all such steps, ms."""


@dataclass(frozen=True, kw_only=True)
class Steps(Chart):
    """Steps as points, their median as a line, the slow ones marked."""

    KIND: ClassVar[str] = "steps"

    times: StepTimes
    slow_from_ms: float

    def plain(self) -> tuple[Table, ...]:
        rows = tuple(
            (
                f"{low:,}" if low == high else f"{low:,} to {high:,}",
                f"{len(times):,}",
                significant(statistics.median(times)),
                significant(percentile(times, 0.95)),
                significant(max(times)),
                f"{sum(ms > self.slow_from_ms for ms in times):,}",
            )
            for low, high, times in self._groups(ROWS)
        )
        columns = ("cached tokens", "steps", "median ms", "p95 ms", "longest ms", "slow")
        return (Table(columns, rows, numeric=frozenset(range(1, 6))),)

    def data(self) -> Any:
        drawn, _ = drawn_steps(self.times, self.slow_from_ms)
        line = [[(low + high) / 2, float(f"{statistics.median(times):.4g}")] for low, high, times in self._groups(BINS)]
        return {
            "cached": [cached for cached, _ in drawn],
            "ms": [float(f"{ms:.4g}") for _, ms in drawn],
            "line": line,
            "slow_from": self.slow_from_ms,
        }

    def _groups(self, most: int) -> Iterator[tuple[int, int, Sequence[float]]]:
        """(shortest, longest, times) by length of the cache: each where there are few, else ranges of equal width."""
        lengths = sorted(self.times)
        width = max(1, -(-(lengths[-1] - lengths[0] + 1) // most))
        grouped: dict[int, list[int]] = {}
        for length in lengths:
            grouped.setdefault((length - lengths[0]) // width, []).append(length)
        for group in grouped.values():
            yield group[0], group[-1], [ms for length in group for ms in self.times[length]]


def steps_chart(times: StepTimes, slow_from_ms: float, words: str) -> Steps:
    """All steps, or of very many the slow ones and a share of the others; then `words` are added to."""
    drawn, every = drawn_steps(times, slow_from_ms)
    if every > 1:
        words += f" {len(drawn):,} points are drawn: the slow ones first, and one of {every:,} of the others."
    return Steps(
        title="Every decode step over the length of the cache", note=words, times=times, slow_from_ms=slow_from_ms
    )


def drawn_steps(times: StepTimes, slow_from_ms: float) -> tuple[list[tuple[int, float]], int]:
    """(cached tokens, ms) of what is drawn, and of how many usual steps one is."""
    slow = [(at, ms) for at, group in times.items() for ms in group if ms > slow_from_ms]
    usual = [(at, ms) for at, group in times.items() for ms in group if ms <= slow_from_ms]
    if len(slow) + len(usual) <= MOST_POINTS:
        return sorted([*slow, *usual]), 1
    slow = sorted(slow, key=lambda step: -step[1])[: MOST_POINTS // 2]
    every = max(1, -(-len(usual) // (MOST_POINTS - len(slow))))
    return sorted([*slow, *usual[::every]]), every
