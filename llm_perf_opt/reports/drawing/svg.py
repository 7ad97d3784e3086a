"""What a roofline is drawn with: a frame, logarithmic axes, marks, words; SVG, self-contained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape as escape_xml

from llm_perf_opt.escaping import visible

WIDTH, HEIGHT = 760, 480
LEFT, RIGHT, TOP, BOTTOM = 76, 190, 40, 56
"""Margins; the legend is in the right one."""
# Okabe and Ito's palette, readable with any colour vision (https://jfly.uni-koeln.de/color/).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#777777"
_LEGEND_CHARACTERS = 26


@dataclass(frozen=True, slots=True)
class Scale:
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


def across_scale(low: int, high: int) -> Scale:
    """The axis of arithmetic intensity; at least one decade."""
    return Scale(low, max(high, low + 1), LEFT, WIDTH - RIGHT)


def up_scale(low: int, high: int) -> Scale:
    """The axis of FLOP/s; at least one decade."""
    return Scale(low, max(high, low + 1), HEIGHT - BOTTOM, TOP)


def power(exponent: int) -> str:
    """10**exponent with a decimal prefix."""
    names = {0: "1", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P"}
    base = exponent - exponent % 3
    if base not in names:
        return f"1e{exponent}"
    number = 10 ** (exponent - base)
    return str(number) if base == 0 else f"{number} {names[base]}"


def axes(across: Scale, up: Scale, rate: str) -> list[str]:
    """Grid and labels; `rate` names the vertical axis."""
    parts = []
    for exponent in across.decades():
        x = across.at(10.0**exponent)
        parts.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" class="grid"/>')
        label = f"{10.0**exponent:g}"
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{label}</text>')
    for exponent in up.decades():
        y = up.at(10.0**exponent)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{power(exponent)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{HEIGHT - 14}" text-anchor="middle">arithmetic intensity, FLOP per byte</text>'
    )
    half = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<text x="16" y="{half}" text-anchor="middle" transform="rotate(-90 16 {half})">{rate}</text>')
    return parts


def shape(kind: str, x: float, y: float, colour: str, title: str) -> str:
    """A mark (`square`, `diamond`, else a circle) that tells its title to who points at it."""
    inner = f"<title>{escape(title)}</title>"
    style = f'fill="{colour}" fill-opacity="0.75" stroke="white"'
    if kind == "square":
        return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" {style}>{inner}</rect>'
    if kind == "diamond":
        points = f"{x:.1f},{y - 6:.1f} {x + 6:.1f},{y:.1f} {x:.1f},{y + 6:.1f} {x - 6:.1f},{y:.1f}"
        return f'<polygon points="{points}" {style}>{inner}</polygon>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" {style}>{inner}</circle>'


def line(ends: tuple[float, float, float, float], colour: str) -> str:
    """From (x, y) to (x, y)."""
    x1, y1, x2, y2 = ends
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="2"/>'


def words(x: float, y: float, text: str) -> str:
    """Text as long as the margin is wide."""
    return f'<text x="{x:.1f}" y="{y:.1f}">{escape(text[:_LEGEND_CHARACTERS])}</text>'


def escape(text: str) -> str:
    return escape_xml(visible(text))


def page(title: str, parts: list[str]) -> str:
    """The whole file."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
            "<style>text{font:12px sans-serif;fill:#333}.grid{stroke:#ddd}.title{font-size:14px}</style>",
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
            f'<text x="{LEFT}" y="22" class="title">{escape(title)}</text>',
            *parts,
            "</svg>\n",
        ]
    )
