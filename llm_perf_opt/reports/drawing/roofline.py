"""A roofline as one SVG file: what a device allows at each arithmetic intensity, and where work lies under it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from llm_perf_opt.reports.drawing.svg import (
    COLOURS,
    GREY,
    RIGHT,
    TOP,
    WIDTH,
    Scale,
    across_scale,
    axes,
    line,
    page,
    shape,
    up_scale,
    words,
)
from llm_perf_opt.reports.units import significant

_SHAPES = ("circle", "square", "diamond")
_MOST_NUMBERS = 40


@dataclass(frozen=True, slots=True)
class Roof:
    """What one device allows one kind of arithmetic."""

    device: str
    kind: str
    """Type or unit of the arithmetic, such as bfloat16 or tensor."""
    peak_flops_per_s: float | None
    """None where it is not known: the roof then has no flat part."""
    bandwidth_bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Mark:
    """Work under one of the roofs."""

    device: str
    kind: str
    group: str
    """Marks of one group have one shape: a phase, a kind."""
    intensity_flops_per_byte: float
    flops_per_s: float
    title: str
    """Said to who points at it."""
    number: int | None = None
    """Row of the table beside the drawing."""


@dataclass(frozen=True, slots=True)
class Roofline:
    """Roofs and the marks under them; every mark has the device and kind of a roof."""

    title: str
    rate: str
    """What the vertical axis is."""
    roofs: tuple[Roof, ...]
    marks: tuple[Mark, ...]

    def svg(self) -> str:
        """The drawing: a colour for each roof, a shape for each group of marks."""
        across, up = self._scales()
        colours = {(roof.device, roof.kind): COLOURS[at % len(COLOURS)] for at, roof in enumerate(self.roofs)}
        shapes = {group: _SHAPES[at % len(_SHAPES)] for at, group in enumerate(self.groups)}
        parts = axes(across, up, f"{self.rate}, FLOP/s")
        for device in self.devices:
            parts.append(line(self._slope(device, across, up), self._slope_colour(device)))
        for roof in self.roofs:
            if roof.peak_flops_per_s is not None:
                ends = _flat(roof.peak_flops_per_s, self._bandwidth(roof.device), across, up)
                parts.append(line(ends, colours[roof.device, roof.kind]))
        numbered = 0 < sum(mark.number is not None for mark in self.marks) <= _MOST_NUMBERS
        for mark in self.marks:
            x, y = across.at(mark.intensity_flops_per_byte), up.at(mark.flops_per_s)
            parts.append(shape(shapes[mark.group], x, y, colours[mark.device, mark.kind], mark.title))
            if numbered and mark.number is not None:
                parts.append(words(x + 6, y - 5, str(mark.number)))
        return page(self.title, [*parts, *self._legend(shapes, numbered=numbered)])

    @property
    def devices(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(roof.device for roof in self.roofs))

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(mark.group for mark in self.marks))

    def _of(self, device: str) -> list[Roof]:
        return [roof for roof in self.roofs if roof.device == device]

    def _bandwidth(self, device: str) -> float:
        """The highest: clocks, and ceilings with them, differ between launches on one device."""
        return max(roof.bandwidth_bytes_per_s for roof in self._of(device))

    def _slope(self, device: str, across: Scale, up: Scale) -> tuple[float, float, float, float]:
        """Ends of what memory allows: up to the highest peak, or to the frame where a peak is not known."""
        bandwidth, peaks = self._bandwidth(device), [roof.peak_flops_per_s for roof in self._of(device)]
        known = [peak for peak in peaks if peak is not None]
        highest = max(known) if len(known) == len(peaks) else 10.0**up.high
        left = max(10.0**across.low, 10.0**up.low / bandwidth)
        right = min(10.0**across.high, highest / bandwidth)
        return across.at(left), up.at(left * bandwidth), across.at(right), up.at(right * bandwidth)

    def _slope_colour(self, device: str) -> str:
        """That of the device's roof; grey where several roofs share the slope."""
        roofs = self._of(device)
        return COLOURS[self.roofs.index(roofs[0]) % len(COLOURS)] if len(roofs) == 1 else GREY

    def _scales(self) -> tuple[Scale, Scale]:
        peaks = [(roof, roof.peak_flops_per_s) for roof in self.roofs if roof.peak_flops_per_s is not None]
        across = [mark.intensity_flops_per_byte for mark in self.marks]
        across += [peak / self._bandwidth(roof.device) for roof, peak in peaks]
        rates = [mark.flops_per_s for mark in self.marks] + [peak for _, peak in peaks]
        low, high = math.floor(math.log10(min(across))), math.ceil(math.log10(max(across)) + 0.3)
        bottom, top = math.floor(math.log10(min(rates))), math.ceil(math.log10(max(rates)) + 0.05)
        return across_scale(low, high), up_scale(bottom, top)

    def _legend(self, shapes: dict[str, str], *, numbered: bool) -> list[str]:
        """What lines and shapes are; devices are named where there are several."""
        x, y = WIDTH - RIGHT + 14.0, TOP + 8.0
        parts: list[str] = []
        several = len(self.devices) > 1
        for at, roof in enumerate(self.roofs):
            peak = roof.peak_flops_per_s
            said = "peak unknown" if peak is None else f"peak {significant(peak / 1e12, 3)} TFLOP/s"
            parts.append(line((x, y, x + 14, y), COLOURS[at % len(COLOURS)]))
            entry, y = _entry(x, y, (roof.kind, *([roof.device] if several else []), said))
            parts += entry
        for device in self.devices:
            parts.append(line((x, y, x + 14, y), self._slope_colour(device)))
            bandwidth = f"DRAM {significant(self._bandwidth(device) / 1e9)} GB/s"
            entry, y = _entry(x, y, (bandwidth, *([device] if several else [])))
            parts += entry
        for group, kind in shapes.items():
            parts.append(shape(kind, x + 7, y, GREY, group))
            entry, y = _entry(x, y, (group,))
            parts += entry
        return [*parts, words(x, y + 8, "numbers: rows of the table")] if numbered else parts


def _entry(x: float, y: float, lines: Sequence[str]) -> tuple[list[str], float]:
    """Lines of the legend, and where the next one goes."""
    parts = [words(x + 20, y + 4 + 16 * at, text) for at, text in enumerate(lines)]
    return parts, y + 16 * len(lines) + 6


def _flat(peak: float, bandwidth: float, across: Scale, up: Scale) -> tuple[float, float, float, float]:
    """Ends of the line of a peak, from where memory allows it."""
    ridge = max(peak / bandwidth, 10.0**across.low)
    return across.at(ridge), up.at(peak), across.end, up.at(peak)
