"""Curves with intervals, and points with a front, as one SVG file."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from llm_perf_opt.reports.drawing.svg import (
    BOTTOM,
    COLOURS,
    GREY,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    escape,
    line,
    page,
    shape,
    words,
)
from llm_perf_opt.reports.units import significant

_TICKS = 5
_WIDE = 4.0
"""An axis of positive values whose largest is so many times the smallest is logarithmic."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A measured value."""

    x: float
    y: float
    title: str
    """Said to who points at it."""
    low: float | None = None
    high: float | None = None
    """Interval of `y`."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Values that belong together."""

    name: str
    spots: tuple[Spot, ...]
    joined: bool = True
    """Whether a line goes through them, from left to right."""
    bound: tuple[tuple[float, float], ...] = ()
    """(x, y) of what they could be at best; dashed."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Curves over one axis; there is a spot."""

    title: str
    across: str
    up: str
    curves: tuple[Curve, ...]
    front: tuple[tuple[float, float], ...] = ()
    """Joined by a grey line."""

    def svg(self) -> str:
        """The drawing: a colour for each curve, a bar for each interval, a dashed line for each bound."""
        spots = [spot for curve in self.curves for spot in curve.spots]
        heights = [value for spot in spots for value in (spot.y, spot.low, spot.high) if value is not None]
        heights += [y for curve in self.curves for _, y in curve.bound]
        across = _axis([spot.x for spot in spots], LEFT + 20, WIDTH - RIGHT - 12)
        up = _axis([0.0, *heights], HEIGHT - BOTTOM, TOP)
        parts = [*_frame(across, up, self.across, self.up)]
        ends = [(across.at(x), up.at(y)) for x, y in self.front]
        parts += [line((*one, *other), GREY) for one, other in itertools.pairwise(ends)]
        for number, curve in enumerate(self.curves):
            parts += _drawn(curve, COLOURS[number % len(COLOURS)], across, up)
        return page(self.title, [*parts, *self._legend()])

    def _legend(self) -> list[str]:
        x, y, parts = WIDTH - RIGHT + 14.0, TOP + 8.0, []
        for number, curve in enumerate(self.curves):
            parts += [
                shape("circle", x + 7, y, COLOURS[number % len(COLOURS)], curve.name),
                words(x + 20, y + 4, curve.name),
            ]
            y += 20
        if any(curve.bound for curve in self.curves):
            parts += [_dashed((x, y, x + 14, y), GREY), words(x + 20, y + 4, "at best, by the peaks")]
            y += 20
        if self.front:
            parts += [line((x, y, x + 14, y), GREY), words(x + 20, y + 4, "front")]
        return parts


@dataclass(frozen=True, slots=True)
class _Axis:
    ticks: tuple[float, ...]
    low: float
    high: float
    start: float
    end: float
    logarithmic: bool

    def at(self, value: float) -> float:
        low, high, here = (math.log(v) if self.logarithmic else v for v in (self.low, self.high, value))
        return self.start + (here - low) / (high - low) * (self.end - self.start)


def _axis(values: Sequence[float], start: float, end: float) -> _Axis:
    """From the smallest to the largest: logarithmic with a tick at each value where they are few and far apart."""
    low, high = min(values), max(values)
    if low > 0 and high >= _WIDE * low:
        distinct = tuple(sorted(set(values)))
        ticks = distinct if len(distinct) <= 2 * _TICKS else tuple(_doubling(low, high))
        return _Axis(ticks, low, high, start, end, logarithmic=True)
    if low == high:
        low, high = (low - 1, high + 1) if low else (0.0, 1.0)
    step = _step((high - low) / _TICKS)
    first, last = math.floor(low / step), math.ceil(high / step)
    ticks = tuple(step * at for at in range(first, last + 1))
    return _Axis(ticks, ticks[0], ticks[-1], start, end, logarithmic=False)


def _doubling(low: float, high: float) -> list[float]:
    factor = 2 ** max(1, math.ceil(math.log2(high / low) / (2 * _TICKS)))
    found = [low]
    while found[-1] * factor <= high * 1.0001:
        found.append(found[-1] * factor)
    return found


def _step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, not below `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.9999)


def _frame(across: _Axis, up: _Axis, across_name: str, up_name: str) -> list[str]:
    parts = []
    for tick in across.ticks:
        x = across.at(tick)
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" class="grid"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{_number(tick)}</text>')
    for tick in up.ticks:
        y = up.at(tick)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_number(tick)}</text>')
    middle, half = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 14}" text-anchor="middle">{escape(across_name)}</text>')
    parts.append(
        f'<text x="16" y="{half}" text-anchor="middle" transform="rotate(-90 16 {half})">{escape(up_name)}</text>'
    )
    return parts


def _number(value: float) -> str:
    return f"{value:g}" if abs(value) < 1e4 and value == round(value, 6) else significant(value, 3)


def _drawn(curve: Curve, colour: str, across: _Axis, up: _Axis) -> list[str]:
    spots = sorted(curve.spots, key=lambda spot: spot.x)
    ends = [(across.at(spot.x), up.at(spot.y)) for spot in spots]
    parts = []
    if curve.joined:
        parts += [line((*one, *other), colour) for one, other in itertools.pairwise(ends)]
    bound = [(across.at(x), up.at(y)) for x, y in sorted(curve.bound)]
    parts += [_dashed((*one, *other), colour) for one, other in itertools.pairwise(bound)]
    parts += [_dashed((x - 6, y, x + 6, y), colour) for x, y in bound if len(bound) == 1]
    for spot, (x, _) in zip(spots, ends, strict=True):
        if spot.low is not None and spot.high is not None:
            parts.append(line((x, up.at(spot.low), x, up.at(spot.high)), colour))
    return parts + [shape("circle", x, y, colour, spot.title) for spot, (x, y) in zip(spots, ends, strict=True)]


def _dashed(ends: tuple[float, float, float, float], colour: str) -> str:
    x1, y1, x2, y2 = ends
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="1.5" '
        'stroke-dasharray="5 4"/>'
    )
