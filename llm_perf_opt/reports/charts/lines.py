"""Quantities over time, one below the other on one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from llm_perf_opt.reports.document import Chart, Table
from llm_perf_opt.reports.units import significant

MOST_POINTS = 600


@dataclass(frozen=True)
class Line:
    """One quantity."""

    name: str
    unit: str
    values: Sequence[float | None]
    """One for each time; None where it was not answered for."""


@dataclass(frozen=True, kw_only=True)
class Lines(Chart):
    """Samples; of many the least and the most of as many spans as can be told apart."""

    KIND: ClassVar[str] = "lines"

    times_s: Sequence[float]
    lines: tuple[Line, ...]
    spans: int = MOST_POINTS // 2

    def plain(self) -> tuple[Table, ...]:
        rows = []
        for line in self.lines:
            known = [value for value in line.values if value is not None]
            first, last = (
                next((v for v in values if v is not None), None) for values in (line.values, line.values[::-1])
            )
            least, most = min(known, default=None), max(known, default=None)
            rows.append((line.name, line.unit, *map(significant, (first, least, most, last))))
        columns = ("quantity", "unit", "first", "least", "most", "last")
        return (Table(columns, tuple(rows), numeric=frozenset(range(2, 6))),)

    def data(self) -> Any:
        start = self.times_s[0] if self.times_s else 0.0
        lines = []
        for line in self.lines:
            points = [
                (at - start, value) for at, value in zip(self.times_s, line.values, strict=True) if value is not None
            ]
            lines.append(
                {"name": line.name, "unit": line.unit, "points": [_short(*point) for point in self._few(points)]}
            )
        return {"lines": lines, "long": (self.times_s[-1] - start) if self.times_s else 0.0}

    def _few(self, points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        if len(points) <= 2 * self.spans:
            return points
        size = -(-len(points) // self.spans)
        few: list[tuple[float, float]] = []
        for first in range(0, len(points), size):
            span = points[first : first + size]
            ends = {min(span, key=lambda point: point[1]), max(span, key=lambda point: point[1])}
            few += sorted(ends)
        return few

    def pruned(self, share: float) -> Lines:
        return replace(self, spans=max(10, int(self.spans * share)))


def _short(at: float, value: float) -> tuple[float, float]:
    return round(at, 3), float(f"{value:.5g}")
