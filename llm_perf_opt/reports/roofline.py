"""Profiled kernels on the roofline of their GPU, as one SVG file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
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
_LEGEND_CHARACTERS = 26
_GREY = "#777777"
_MOST_NUMBERS = 40


@dataclass(frozen=True, slots=True)
class _Mark:
    number: int
    """Of the launch, counted as in the table."""
    launch: KernelLaunch
    point: RooflinePoint
    gpu: str
    intensity: float
    bandwidth: float

    @property
    def series(self) -> tuple[str, str]:
        """Marks of one colour: arithmetic of one kind on one GPU."""
        return self.gpu, self.point.kind


def roofline_svg(launches: Sequence[KernelLaunch]) -> str | None:
    """The drawing; None where there is no point with a ceiling above it.

    A kernel stands on it once for each kind of arithmetic. Clocks differ between launches and ceilings with them: the
    highest of each GPU and kind is drawn.
    """
    marks = _marks(launches)
    if not marks:
        return None
    series = sorted({mark.series for mark in marks})
    peaks = {one: _highest(mark.point.peak_flops_per_s for mark in marks if mark.series == one) for one in series}
    gpus = sorted({mark.gpu for mark in marks})
    bandwidths = {gpu: max(mark.bandwidth for mark in marks if mark.gpu == gpu) for gpu in gpus}
    ridges = [peak / bandwidths[gpu] for (gpu, _), peak in peaks.items() if peak is not None]
    across, up = _scales(marks, ridges, [peak for peak in peaks.values() if peak is not None])
    parts = axes(across, up, "executed, FLOP/s")
    parts += [_slope(bandwidth, across, up) for bandwidth in bandwidths.values()]
    for position, ((gpu, _), peak) in enumerate(peaks.items()):
        if peak is not None:
            parts.append(_line(_flat(peak, bandwidths[gpu], across, up), COLOURS[position % len(COLOURS)]))
    numbered = len(marks) <= _MOST_NUMBERS
    for mark in marks:
        parts += _placed(mark, series.index(mark.series), across, up, numbered=numbered)
    return page("Kernels on the roofline", [*parts, *_legend(peaks, bandwidths, numbered=numbered)])


def _marks(launches: Sequence[KernelLaunch]) -> list[_Mark]:
    return [
        _Mark(number, launch, point, device_of(launch), point.intensity_flops_per_byte, point.bandwidth_bytes_per_s)
        for number, launch in enumerate(launches, 1)
        for point in launch.points
        if point.intensity_flops_per_byte and point.bandwidth_bytes_per_s
    ]


def device_of(launch: KernelLaunch) -> str:
    """The GPU as far as the export names it."""
    if launch.gpu is not None:
        return launch.gpu
    return f"CC {launch.compute_capability}" if launch.compute_capability is not None else "—"


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


def _scales(marks: Sequence[_Mark], ridges: Sequence[float], peaks: Sequence[float]) -> tuple[Scale, Scale]:
    across = [mark.intensity for mark in marks] + list(ridges)
    low, high = math.floor(math.log10(min(across))), math.ceil(math.log10(max(across)) + 0.3)
    rates = [mark.point.flops_per_s for mark in marks] + list(peaks)
    bottom, top = math.floor(math.log10(min(rates))), math.ceil(math.log10(max(rates)) + 0.05)
    return across_scale(low, high), up_scale(bottom, top)


def _placed(mark: _Mark, position: int, across: Scale, up: Scale, *, numbered: bool) -> list[str]:
    x, y = across.at(mark.intensity), up.at(mark.point.flops_per_s)
    share = "" if mark.point.share_of_roof is None else f", {percent(mark.point.share_of_roof)} of the roof"
    title = (
        f"{mark.number}: {visible(mark.launch.kernel)} — {mark.point.kind}, "
        f"{significant(mark.intensity)} FLOP/byte, {significant(mark.point.flops_per_s / 1e9)} GFLOP/s{share}"
    )
    drawn = [shape(_SHAPES[position % len(_SHAPES)], x, y, COLOURS[position % len(COLOURS)], title)]
    return [*drawn, f'<text x="{x + 6:.1f}" y="{y - 5:.1f}">{mark.number}</text>'] if numbered else drawn


def _legend(
    peaks: Mapping[tuple[str, str], float | None], bandwidths: Mapping[str, float], *, numbered: bool
) -> list[str]:
    """What the marks and lines are; GPUs are named where there are several."""
    x, y, parts = WIDTH - RIGHT + 14, TOP + 8, []
    several = len(bandwidths) > 1
    for position, ((gpu, kind), peak) in enumerate(peaks.items()):
        said = "peak unknown" if peak is None else f"peak {significant(peak / 1e12, 3)} TFLOP/s"
        parts.append(shape(_SHAPES[position % len(_SHAPES)], x + 6, y, COLOURS[position % len(COLOURS)], kind))
        for words in (kind, *([gpu] if several else []), said):
            parts.append(_words(x + 18, y + 4, words))
            y += 16
        y += 8
    for gpu, bandwidth in bandwidths.items():
        parts.append(_line((x, y, x + 12, y), _GREY))
        for words in (f"DRAM {significant(bandwidth / 1e9)} GB/s", *([gpu] if several else [])):
            parts.append(_words(x + 18, y + 4, words))
            y += 16
    return [*parts, _words(x, y + 8, "numbers: rows of the table")] if numbered else parts


def _words(x: float, y: float, text: str) -> str:
    return f'<text x="{x}" y="{y}">{escape(visible(text)[:_LEGEND_CHARACTERS])}</text>'
