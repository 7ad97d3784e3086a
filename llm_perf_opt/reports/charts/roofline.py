"""What the hardware allows at each arithmetic intensity, and what was reached under it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from llm_perf_opt.reports.document import Chart, Table
from llm_perf_opt.reports.units import percent, scaled, significant


@dataclass(frozen=True)
class Point:
    """Work, and how fast it ran."""

    name: str
    flops_per_byte: float
    flops_per_s: float
    tone: Literal["prefill", "decode", "rest"] = "rest"
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class RooflineChart(Chart):
    """Both axes logarithmic; without peaks the points alone."""

    KIND: ClassVar[str] = "roofline"

    points: tuple[Point, ...]
    peak_flops_per_s: float | None
    bandwidth_bytes_per_s: float | None
    source: str = ""
    """Where the peaks are from."""

    def plain(self) -> tuple[Table, ...]:
        rows = tuple(
            (
                point.name,
                significant(point.flops_per_byte),
                scaled(point.flops_per_s, "FLOP/s"),
                "—" if (roof := self._roof(point)) is None else scaled(roof, "FLOP/s"),
                "—" if roof is None else percent(point.flops_per_s / roof),
                point.remark,
            )
            for point in self.points
        )
        columns = ("work", "FLOP per byte", "reached", "roof there", "share of it", "remark")
        return (Table(columns, rows, numeric=frozenset({1, 2, 3, 4}), important=(0, 2, 4)),)

    def _roof(self, point: Point) -> float | None:
        if self.peak_flops_per_s is None or self.bandwidth_bytes_per_s is None:
            return None
        return min(self.peak_flops_per_s, self.bandwidth_bytes_per_s * point.flops_per_byte)

    def data(self) -> Any:
        return {
            "points": [
                [
                    point.name,
                    point.flops_per_byte,
                    point.flops_per_s,
                    point.tone,
                    f"{scaled(point.flops_per_s, 'FLOP/s')} at {significant(point.flops_per_byte)} FLOP/B",
                    point.remark,
                ]
                for point in self.points
            ],
            "peak": self.peak_flops_per_s,
            "bandwidth": self.bandwidth_bytes_per_s,
            "peak_words": scaled(self.peak_flops_per_s, "FLOP/s"),
            "bandwidth_words": scaled(self.bandwidth_bytes_per_s, "B/s"),
        }
