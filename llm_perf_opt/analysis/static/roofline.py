"""A roofline as one SVG file: what each GPU allows at each arithmetic intensity, and where the phases lie."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from llm_perf_opt.analysis.drawing import (
    COLOURS,
    RIGHT,
    TOP,
    WIDTH,
    Scale,
    across_scale,
    axes,
    page,
    shape,
    up_scale,
)
from llm_perf_opt.analysis.static.bounds import Limits

_SHAPES = {"prefill": "square", "decode": "circle", "vision": "diamond"}


@dataclass(frozen=True, slots=True)
class Mark:
    """A phase on a GPU: its intensity (FLOP/byte) and the rate its bound allows (FLOP/s)."""

    gpu: str
    phase: str
    intensity: float
    rate: float
    label: str


def _scales(limits: Mapping[str, Limits], dtype: str, marks: Sequence[Mark]) -> tuple[Scale, Scale]:
    ridges = [limit.peaks[dtype] / limit.bandwidth for limit in limits.values() if dtype in limit.peaks]
    across = [mark.intensity for mark in marks if mark.intensity > 0] + ridges
    low, high = math.floor(math.log10(min(across))), math.ceil(math.log10(max(across)) + 0.3)
    peaks = [peak for limit in limits.values() for peak in limit.peaks.values()]
    rates = [mark.rate for mark in marks if mark.rate > 0] + [10.0**low * limit.bandwidth for limit in limits.values()]
    bottom, top = math.floor(math.log10(min(rates))), math.ceil(math.log10(max(peaks)) + 0.05)
    return across_scale(low, high), up_scale(bottom, top)


def _roof(peak: float, bandwidth: float, across: Scale, up: Scale, colour: str) -> str:
    ridge = peak / bandwidth
    left, right = 10.0**across.low, 10.0**across.high
    corners = [(left, left * bandwidth), (min(max(ridge, left), right), peak), (right, peak)]
    path = " ".join(f"{across.at(x):.1f},{up.at(max(y, 10.0**up.low)):.1f}" for x, y in corners)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _legend(names: Sequence[str], phases: Sequence[str]) -> list[str]:
    x, y, parts = WIDTH - RIGHT + 14, TOP + 8, []
    for position, name in enumerate(names):
        colour = COLOURS[position % len(COLOURS)]
        parts.append(f'<line x1="{x}" y1="{y}" x2="{x + 18}" y2="{y}" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{x + 24}" y="{y + 4}">{escape(name)}</text>')
        y += 18
    for phase in phases:
        parts.append(shape(_SHAPES.get(phase, "circle"), x + 9, y, "#555555", phase))
        parts.append(f'<text x="{x + 24}" y="{y + 4}">{escape(phase)}</text>')
        y += 18
    return parts


def roofline_svg(title: str, limits: Mapping[str, Limits], dtype: str, marks: Sequence[Mark]) -> str | None:
    """The drawing, or None where no GPU has a peak for the type.

    Args:
        limits: GPU name -> its peaks and bandwidth.
        dtype: the type whose roof is drawn.
    """
    roofs = {name: limit for name, limit in limits.items() if dtype in limit.peaks}
    if not roofs:
        return None
    placed = [mark for mark in marks if mark.gpu in roofs and mark.rate > 0 and mark.intensity > 0]
    across, up = _scales(roofs, dtype, placed)
    names = list(roofs)
    parts = axes(across, up, "bound, FLOP/s")
    for position, name in enumerate(names):
        colour = COLOURS[position % len(COLOURS)]
        parts.append(_roof(roofs[name].peaks[dtype], roofs[name].bandwidth, across, up, colour))
    for mark in placed:
        colour = COLOURS[names.index(mark.gpu) % len(COLOURS)]
        kind = _SHAPES.get(mark.phase, "circle")
        parts.append(shape(kind, across.at(mark.intensity), up.at(mark.rate), colour, mark.label))
    parts.extend(_legend(names, list(dict.fromkeys(mark.phase for mark in placed))))
    return page(title, parts)
