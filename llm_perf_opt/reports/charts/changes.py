"""Figures of two sides: the values of both on one axis, and how each changed, as an interval around zero."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from llm_perf_opt.reports.charts.dots import evenly
from llm_perf_opt.reports.document import Chart, Table

MOST_DOTS = 200
"""Of one side of one figure."""
REACH = 3.0
"""An axis is at most so many times as long as the middle one of the intervals: what goes beyond is cut, and marked."""


@dataclass(frozen=True)
class Change:
    """One figure."""

    name: str
    words: str
    """Both medians."""
    a: tuple[float, ...]
    """One value a replicate; empty where nothing was compared."""
    b: tuple[float, ...]
    medians: tuple[float | None, float | None]
    percent: float | None
    """B against A."""
    interval: tuple[float, float | None] | None
    """In percent; an upper end of None is beyond any number."""
    said: str
    """The change and its interval."""
    verdict: str
    good: bool | None = None
    """Whether B is better; None where that was not found."""


@dataclass(frozen=True, kw_only=True)
class Changes(Chart):
    """One row a figure."""

    KIND: ClassVar[str] = "changes"

    changes: tuple[Change, ...]
    dots: str
    """What each dot is, in the plural."""
    tolerance_percent: float
    """Changes within it are the same; shaded."""
    behind: Table
    """The same as a table."""
    most: int = MOST_DOTS

    @property
    def reach_percent(self) -> float:
        """How far the axis of changes goes to both sides of zero."""
        sizes = sorted(max(map(abs, ends)) for change in self.changes if (ends := list(_ends(change))))
        middle = sizes[len(sizes) // 2] if sizes else 0.0
        return max(min(sizes[-1] if sizes else 0.0, middle * REACH), 1.5 * self.tolerance_percent, 1e-6)

    def plain(self) -> tuple[Table, ...]:
        return (self.behind,)

    def data(self) -> Any:
        return {
            "dots": self.dots,
            "reach": self.reach_percent,
            "tolerance": self.tolerance_percent,
            "changes": [
                {
                    "name": change.name,
                    "words": change.words,
                    "sides": [[_short(value) for value in evenly(side, self.most)] for side in (change.a, change.b)],
                    "medians": change.medians,
                    "percent": change.percent,
                    "interval": change.interval,
                    "said": change.said,
                    "verdict": change.verdict,
                    "good": change.good,
                }
                for change in self.changes
            ],
        }

    def pruned(self, share: float) -> Changes:
        return replace(self, most=max(2, int(self.most * share)))


def _ends(change: Change) -> Iterator[float]:
    """What of a change has to be on the axis."""
    if change.percent is not None:
        yield change.percent
    yield from (end for end in change.interval or () if end is not None)


def _short(value: float) -> float:
    return float(f"{value:.5g}")
