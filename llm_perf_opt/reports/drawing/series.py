"""One figure of a series of runs as one SVG file: a point a run with its interval, marks, and the clear steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llm_perf_opt.reports.drawing.svg import BOTTOM, COLOURS, GREY, HEIGHT, LEFT, TOP, WIDTH, escape, line, page, shape
from llm_perf_opt.reports.units import significant

_RIGHT = 24
_DATES = 6


@dataclass(frozen=True)
class Point:
    """One run."""

    value: float
    interval: tuple[float, float] | None
    title: str
    """Said to who points at it."""
    date: str
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """Between the point before `index` and that of it."""

    index: int
    title: str


def draw_series(title: str, unit: str, points: Sequence[Point], steps: Sequence[Step] = ()) -> str:
    """Runs in the order they were made, at equal distances: a clock that jumped moves none far from the others."""
    ends: list[float] = [value for point in points for value in (point.value, *(point.interval or ()))]
    low, high = min(ends), max(ends)
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    low, high = low - room if low - room > 0 or low < 0 else 0.0, high + room

    def across(index: float) -> float:
        span = WIDTH - _RIGHT - LEFT - 24
        return LEFT + 12 + span * (index / (len(points) - 1) if len(points) > 1 else 0.5)

    def up(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (value - low) / (high - low)

    parts = _grid((low, high), up, unit)
    parts += _dates(points, across)
    for index, point in enumerate(points):
        if point.marks:
            x = across(index - 0.5) if index else across(0)
            parts.append(
                f'<g><title>{escape("; ".join(point.marks))}</title><line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" '
                f'y2="{HEIGHT - BOTTOM}" stroke="{GREY}" stroke-width="2" stroke-dasharray="3 3"/></g>'
            )
    for step in steps:
        x = across(step.index - 0.5)
        ends_of = (x, float(TOP), x, float(HEIGHT - BOTTOM))
        parts.append(f"<g><title>{escape(step.title)}</title>{line(ends_of, COLOURS[1])}</g>")
    for index, point in enumerate(points):
        x = across(index)
        if point.interval is not None:
            parts.append(line((x, up(point.interval[0]), x, up(point.interval[1])), COLOURS[5]))
        parts.append(shape("circle", x, up(point.value), COLOURS[0], point.title))
    return page(title, parts)


def _grid(ends: tuple[float, float], up: Callable[[float], float], unit: str) -> list[str]:
    low, high = ends
    parts = []
    width = 10 ** math.floor(math.log10((high - low) / 4))
    spacing = next(width * factor for factor in (1, 2, 5, 10) if (high - low) / (width * factor) <= 6)
    value = math.ceil(low / spacing) * spacing
    while value <= high:
        y = up(value)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - _RIGHT}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{significant(value)}</text>')
        value += spacing
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text x="16" y="{middle}" text-anchor="middle" transform="rotate(-90 16 {middle})">{escape(unit)}</text>'
    )
    return parts


def _dates(points: Sequence[Point], across: Callable[[float], float]) -> list[str]:
    """Below the first run, the last, and some between."""
    last = len(points) - 1
    shown = sorted({round(last * part / (_DATES - 1)) for part in range(_DATES)})
    return [
        f'<text x="{across(index):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">'
        f"{escape(points[index].date)}</text>"
        for index in shown
    ]
