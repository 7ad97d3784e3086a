"""What the hardware allows at each arithmetic intensity, and what was reached under it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from llm_perf_opt.reports.document import Chart, Table
from llm_perf_opt.reports.units import percent, scaled, significant


@dataclass(frozen=True)
class Roof:
    """What one device allows one kind of arithmetic; where a limit is not known, that part is not drawn."""

    name: str
    peak_flops_per_s: float | None
    bandwidth_bytes_per_s: float | None

    def at(self, flops_per_byte: float) -> float | None:
        """FLOP/s at the most; None where either limit is not known."""
        if self.peak_flops_per_s is None or self.bandwidth_bytes_per_s is None:
            return None
        return min(self.peak_flops_per_s, self.bandwidth_bytes_per_s * flops_per_byte)


@dataclass(frozen=True)
class Point:
    """Work, and how fast it ran."""

    name: str
    flops_per_byte: float
    flops_per_s: float
    tone: Literal["prefill", "decode", "rest"] = "rest"
    remark: str = ""
    roof: int = 0
    """Which of the roofs it is under."""
    row: int | None = None
    """Of the list beside the drawing."""


@dataclass(frozen=True)
class Listed:
    """The list beside the drawing, each row of which can be shown alone."""

    columns: tuple[str, ...]
    """The first is what a row is called."""
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, kw_only=True)
class RooflineChart(Chart):
    """Both axes logarithmic; without roofs the points alone."""

    KIND: ClassVar[str] = "roofline"

    points: tuple[Point, ...]
    roofs: tuple[Roof, ...]
    listed: Listed | None = None
    behind: Table | None = None
    """The same as a table; None: one row a point."""

    def plain(self) -> tuple[Table, ...]:
        if self.behind is not None:
            return (self.behind,)
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
        return self.roofs[point.roof].at(point.flops_per_byte) if self.roofs else None

    def data(self) -> Any:
        names = {name: at for at, name in enumerate(dict.fromkeys(point.name for point in self.points))}
        return {
            "names": list(names),
            "points": [
                [
                    names[point.name],
                    float(f"{point.flops_per_byte:.5g}"),
                    float(f"{point.flops_per_s:.5g}"),
                    point.tone,
                    point.remark,
                    point.roof,
                    point.row,
                ]
                for point in self.points
            ],
            "roofs": [
                [
                    roof.name,
                    roof.peak_flops_per_s,
                    roof.bandwidth_bytes_per_s,
                    scaled(roof.peak_flops_per_s, "FLOP/s"),
                    scaled(roof.bandwidth_bytes_per_s, "B/s"),
                ]
                for roof in self.roofs
            ],
            "listed": None if self.listed is None else {"columns": self.listed.columns, "rows": self.listed.rows},
        }

    def pruned(self, share: float) -> RooflineChart:
        """The first points, and the rows that they are of; said in the note."""
        kept = self.points[: max(1, int(len(self.points) * share))]
        last = max((point.row for point in kept if point.row is not None), default=-1)
        listed = None if self.listed is None else replace(self.listed, rows=self.listed.rows[: last + 1])
        words = f"{len(kept):,} of {len(self.points):,} points are drawn, the first of the table."
        return replace(self, points=kept, listed=listed, note=f"{self.note} {words}".strip())
