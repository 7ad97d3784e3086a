"""Profiled kernels on the roofline of their GPU, as one SVG file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
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
from llm_perf_opt.escaping import visible
from llm_perf_opt.records.kernels import KernelLaunch, RooflinePoint
from llm_perf_opt.reports.units import percent, significant

NO_CEILINGS = (
    "No roofline was drawn: no kernel has an arithmetic intensity, or no DRAM bandwidth to hold it against is known."
)
_SHAPES = ("circle", "square", "diamond")
_LEGEND_CHARACTERS = 24
_GREY = "#777777"
_MOST_NUMBERS = 40


@dataclass(frozen=True, slots=True)
class _Mark:
    number: int
    """Of the launch, counted as in the table."""
    launch: KernelLaunch
    point: RooflinePoint
    intensity: float
    bandwidth: float


def roofline_svg(launches: Sequence[KernelLaunch]) -> str | None:
    """The drawing; None where there is no point with a ceiling above it.

    A kernel stands on it once for each kind of arithmetic. Clocks differ between launches and ceilings with them: the
    highest of each is drawn.
    """
    marks = _marks(launches)
    if not marks:
        return None
    bandwidth = max(mark.bandwidth for mark in marks)
    kinds = sorted({mark.point.kind for mark in marks})
    peaks = {kind: _highest(mark.point.peak_flops_per_s for mark in marks if mark.point.kind == kind) for kind in kinds}
    across, up = _scales(marks, bandwidth, [peak for peak in peaks.values() if peak is not None])
    parts = [*axes(across, up, "executed, FLOP/s"), _slope(bandwidth, across, up)]
    for position, peak in enumerate(peaks.values()):
        parts += [] if peak is None else [_line(_flat(peak, bandwidth, across, up), COLOURS[position % len(COLOURS)])]
    numbered = len(marks) <= _MOST_NUMBERS
    for mark in marks:
        parts += _placed(mark, kinds, across, up, numbered=numbered)
    return page("Kernels on the roofline", [*parts, *_legend(kinds, peaks, bandwidth, numbered=numbered)])


def _marks(launches: Sequence[KernelLaunch]) -> list[_Mark]:
    return [
        _Mark(number, launch, point, point.intensity_flops_per_byte, point.bandwidth_bytes_per_s)
        for number, launch in enumerate(launches, 1)
        for point in launch.points
        if point.intensity_flops_per_byte and point.bandwidth_bytes_per_s
    ]


def _highest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _slope(bandwidth: float, across: Scale, up: Scale) -> str:
    """What DRAM allows: as far as the frame goes, since a kind's peak may not be known."""
    left = max(10.0**across.low, 10.0**up.low / bandwidth)
    right = min(10.0**across.high, 10.0**up.high / bandwidth)
    ends = (across.at(left), up.at(left * bandwidth), across.at(right), up.at(right * bandwidth))
    return _line(ends, _GREY)


def _flat(peak: float, bandwidth: float, across: Scale, up: Scale) -> tuple[float, float, float, float]:
    """Ends of the line of a peak, from where DRAM allows it."""
    ridge = max(peak / bandwidth, 10.0**across.low)
    return across.at(ridge), up.at(peak), across.end, up.at(peak)


def _line(ends: tuple[float, float, float, float], colour: str) -> str:
    x1, y1, x2, y2 = ends
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="2"/>'


def _scales(marks: Sequence[_Mark], bandwidth: float, peaks: Sequence[float]) -> tuple[Scale, Scale]:
    across = [mark.intensity for mark in marks] + [peak / bandwidth for peak in peaks]
    low, high = math.floor(math.log10(min(across))), math.ceil(math.log10(max(across)) + 0.3)
    rates = [mark.point.flops_per_s for mark in marks] + list(peaks)
    return across_scale(low, high), up_scale(
        math.floor(math.log10(min(rates))), math.ceil(math.log10(max(rates)) + 0.05)
    )


def _placed(mark: _Mark, kinds: Sequence[str], across: Scale, up: Scale, *, numbered: bool) -> list[str]:
    position = kinds.index(mark.point.kind)
    x, y = across.at(mark.intensity), up.at(mark.point.flops_per_s)
    share = "" if mark.point.share_of_roof is None else f", {percent(mark.point.share_of_roof)} of the roof"
    title = (
        f"{mark.number}: {visible(mark.launch.kernel)} — {mark.point.kind}, "
        f"{significant(mark.intensity)} FLOP/byte, {significant(mark.point.flops_per_s / 1e9)} GFLOP/s{share}"
    )
    drawn = [shape(_SHAPES[position % len(_SHAPES)], x, y, COLOURS[position % len(COLOURS)], title)]
    return [*drawn, f'<text x="{x + 6:.1f}" y="{y - 5:.1f}">{mark.number}</text>'] if numbered else drawn


def _legend(kinds: Sequence[str], peaks: dict[str, float | None], bandwidth: float, *, numbered: bool) -> list[str]:
    x, y, parts = WIDTH - RIGHT + 14, TOP + 8, []
    for position, kind in enumerate(kinds):
        colour, peak = COLOURS[position % len(COLOURS)], peaks[kind]
        said = "peak unknown" if peak is None else f"peak {significant(peak / 1e12, 3)} TFLOP/s"
        parts.append(shape(_SHAPES[position % len(_SHAPES)], x + 6, y, colour, kind))
        parts.append(f'<text x="{x + 18}" y="{y + 4}">{escape(kind[:_LEGEND_CHARACTERS])}</text>')
        parts.append(f'<text x="{x + 18}" y="{y + 20}">{said}</text>')
        y += 40
    parts.append(_line((x, y, x + 12, y), _GREY))
    parts.append(f'<text x="{x + 18}" y="{y + 4}">DRAM {significant(bandwidth / 1e9)} GB/s</text>')
    return [*parts, f'<text x="{x}" y="{y + 24}">numbers: rows of the table</text>'] if numbered else parts
