"""Measured values over one quantity: curves with intervals, what would be possible at best, a front, marks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from llm_perf_opt.reports.document import Chart, Table
from llm_perf_opt.reports.units import significant

MOST_CURVES = 8
"""Colours that are told apart."""
WIDE = 4.0
"""An axis of positive values whose largest is so many times the smallest is logarithmic."""
STEEP = 30.0
"""The same of the vertical axis, where it need not begin at zero."""


@dataclass(frozen=True)
class Spot:
    """A value."""

    x: float
    y: float
    words: str
    """Said to who points at it."""
    interval: tuple[float, float] | None = None
    """Of `y`."""


@dataclass(frozen=True)
class Curve:
    """Values that belong together, in any order."""

    name: str
    spots: tuple[Spot, ...]
    joined: bool = True
    """Whether a line goes through them, from left to right."""
    bound: tuple[tuple[float, float], ...] = ()
    """(x, y) of what they could be at best; dashed."""


@dataclass(frozen=True)
class Mark:
    """Something that happened at one place of the axis."""

    x: float
    words: str
    step: bool = False
    """Whether the values are clearly others from there on."""


@dataclass(frozen=True, kw_only=True)
class Curves(Chart):
    """The first of the curves, as many as there are colours; there is a spot."""

    KIND: ClassVar[str] = "curves"

    across: str
    up: str
    curves: tuple[Curve, ...]
    front: tuple[tuple[float, float], ...] = ()
    """Joined by a line, from left to right."""
    marks: tuple[Mark, ...] = ()
    labels: tuple[tuple[float, str], ...] = ()
    """What stands below the axis where its numbers say nothing."""
    from_zero: bool = True
    """Whether the vertical axis begins there."""

    @property
    def logarithmic(self) -> bool:
        places = [spot.x for curve in self.curves for spot in curve.spots]
        return not self.labels and min(places) > 0 and max(places) >= WIDE * min(places)

    @property
    def up_logarithmic(self) -> bool:
        heights = [y for curve in self.curves for spot in curve.spots for y in (spot.y, *(spot.interval or ()))]
        heights += [y for curve in self.curves for _, y in curve.bound]
        return not self.from_zero and min(heights) > 0 and max(heights) >= STEEP * min(heights)

    def plain(self) -> tuple[Table, ...]:
        """Where each curve begins, ends, and is lowest and highest."""
        rows = []
        for curve in self.curves:
            least, most = (choose(curve.spots, key=lambda spot: spot.y) for choose in (min, max))
            ends = (choose(curve.spots, key=lambda spot: spot.x) for choose in (min, max))
            rows.append(
                (
                    curve.name,
                    f"{len(curve.spots):,}",
                    *(self._place(spot.x) for spot in ends),
                    significant(least.y),
                    self._place(least.x),
                    significant(most.y),
                    self._place(most.x),
                )
            )
        columns = ("curve", "points", f"{self.across}, first", "last", f"{self.up}, least", "at", "most", "at")
        return (Table(columns, tuple(rows), numeric=frozenset(range(1, 8)), important=(0, 4, 6)),)

    def _place(self, x: float) -> str:
        named = dict(self.labels)
        return named.get(x) or (f"{x:,.0f}" if x == round(x) else significant(x))

    def data(self) -> Any:
        return {
            "across": self.across,
            "up": self.up,
            "logarithmic": self.logarithmic,
            "up_logarithmic": self.up_logarithmic,
            "from_zero": self.from_zero,
            "curves": [
                {
                    "name": curve.name,
                    "joined": curve.joined,
                    "spots": [
                        [_short(spot.x), _short(spot.y), spot.words, *map(_short, spot.interval or ())]
                        for spot in sorted(curve.spots, key=lambda spot: spot.x)
                    ],
                    "bound": [[_short(x), _short(y)] for x, y in sorted(curve.bound)],
                }
                for curve in self.curves[:MOST_CURVES]
            ],
            "front": [[_short(x), _short(y)] for x, y in sorted(self.front)],
            "marks": [[mark.x, mark.words, mark.step] for mark in self.marks],
            "labels": self.labels,
            "left_out": max(0, len(self.curves) - MOST_CURVES),
        }

    def pruned(self, share: float) -> Curves:
        """Every so many-th spot of each curve, said in the note."""
        every = max(2, round(1 / max(share, 0.001)))
        kept = tuple(replace(curve, spots=curve.spots[::every]) for curve in self.curves)
        return replace(self, curves=kept, note=f"{self.note} One of {every:,} points is drawn.".strip())


def _short(value: float) -> float:
    return float(f"{value:.6g}")
