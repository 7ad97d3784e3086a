"""A roofline as one SVG file: what each GPU allows at each arithmetic intensity, and where the phases lie."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from llm_perf_opt.analysis.static.bounds import Limits

_WIDTH, _HEIGHT = 760, 480
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 190, 40, 56
# Okabe and Ito's palette, readable with any colour vision (https://jfly.uni-koeln.de/color/).
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_SHAPES = {"prefill": "square", "decode": "circle", "vision": "diamond"}


@dataclass(frozen=True, slots=True)
class Mark:
    """A phase on a GPU: its intensity (FLOP/byte) and the rate its bound allows (FLOP/s)."""

    gpu: str
    phase: str
    intensity: float
    rate: float
    label: str


@dataclass(frozen=True, slots=True)
class _Scale:
    """A logarithmic axis from 10**low to 10**high onto pixels."""

    low: int
    high: int
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def decades(self) -> range:
        return range(self.low, self.high + 1)


def _scales(limits: Mapping[str, Limits], dtype: str, marks: Sequence[Mark]) -> tuple[_Scale, _Scale]:
    ridges = [limit.peaks[dtype] / limit.bandwidth for limit in limits.values() if dtype in limit.peaks]
    across = [mark.intensity for mark in marks if mark.intensity > 0] + ridges
    low, high = math.floor(math.log10(min(across))), math.ceil(math.log10(max(across)) + 0.3)
    peaks = [peak for limit in limits.values() for peak in limit.peaks.values()]
    rates = [mark.rate for mark in marks if mark.rate > 0] + [10.0**low * limit.bandwidth for limit in limits.values()]
    bottom, top = math.floor(math.log10(min(rates))), math.ceil(math.log10(max(peaks)) + 0.05)
    return (
        _Scale(low, max(high, low + 1), _LEFT, _WIDTH - _RIGHT),
        _Scale(bottom, max(top, bottom + 1), _HEIGHT - _BOTTOM, _TOP),
    )


def _power(exponent: int) -> str:
    names = {0: "1", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P"}
    base = exponent - exponent % 3
    if base not in names:
        return f"1e{exponent}"
    number = 10 ** (exponent - base)
    return str(number) if base == 0 else f"{number} {names[base]}"


def _axes(across: _Scale, up: _Scale) -> list[str]:
    parts = []
    for exponent in across.decades():
        x = across.at(10.0**exponent)
        parts.append(f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{_HEIGHT - _BOTTOM}" class="grid"/>')
        label = f"{10.0**exponent:g}"
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{label}</text>')
    for exponent in up.decades():
        y = up.at(10.0**exponent)
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_power(exponent)}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{_HEIGHT - 14}" text-anchor="middle">arithmetic intensity, FLOP per byte</text>'
    )
    half = (_TOP + _HEIGHT - _BOTTOM) / 2
    parts.append(f'<text x="16" y="{half}" text-anchor="middle" transform="rotate(-90 16 {half})">bound, FLOP/s</text>')
    return parts


def _roof(limit: Limits, peak: float, across: _Scale, up: _Scale, colour: str) -> str:
    ridge = peak / limit.bandwidth
    left, right = 10.0**across.low, 10.0**across.high
    corners = [(left, left * limit.bandwidth), (min(max(ridge, left), right), peak), (right, peak)]
    path = " ".join(f"{across.at(x):.1f},{up.at(max(y, 10.0**up.low)):.1f}" for x, y in corners)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _shape(kind: str, x: float, y: float, colour: str, title: str) -> str:
    inner = f"<title>{escape(title)}</title>"
    style = f'fill="{colour}" fill-opacity="0.75" stroke="white"'
    if kind == "square":
        return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" {style}>{inner}</rect>'
    if kind == "diamond":
        points = f"{x:.1f},{y - 6:.1f} {x + 6:.1f},{y:.1f} {x:.1f},{y + 6:.1f} {x - 6:.1f},{y:.1f}"
        return f'<polygon points="{points}" {style}>{inner}</polygon>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" {style}>{inner}</circle>'


def _legend(names: Sequence[str], phases: Sequence[str]) -> list[str]:
    x, y, parts = _WIDTH - _RIGHT + 14, _TOP + 8, []
    for position, name in enumerate(names):
        colour = _COLOURS[position % len(_COLOURS)]
        parts.append(f'<line x1="{x}" y1="{y}" x2="{x + 18}" y2="{y}" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{x + 24}" y="{y + 4}">{escape(name)}</text>')
        y += 18
    for phase in phases:
        parts.append(_shape(_SHAPES.get(phase, "circle"), x + 9, y, "#555555", phase))
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
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        "<style>text{font:12px sans-serif;fill:#333}.grid{stroke:#ddd}.title{font-size:14px}</style>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="22" class="title">{escape(title)}</text>',
        *_axes(across, up),
    ]
    for position, name in enumerate(names):
        colour = _COLOURS[position % len(_COLOURS)]
        parts.append(_roof(roofs[name], roofs[name].peaks[dtype], across, up, colour))
    for mark in placed:
        colour = _COLOURS[names.index(mark.gpu) % len(_COLOURS)]
        shape = _SHAPES.get(mark.phase, "circle")
        parts.append(_shape(shape, across.at(mark.intensity), up.at(mark.rate), colour, mark.label))
    parts.extend(_legend(names, list(dict.fromkeys(mark.phase for mark in placed))))
    return "\n".join([*parts, "</svg>"]) + "\n"
