"""The figures to quote, each with all its repeats."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from llm_perf_opt.reports.charts.dots import evenly
from llm_perf_opt.reports.document import Chart, Items, Table
from llm_perf_opt.reports.units import significant

MOST_DOTS = 400


@dataclass(frozen=True)
class Tile:
    """One figure."""

    label: str
    unit: str
    median: float | None
    samples: tuple[float, ...] = ()
    """One a repeat, in the order of measuring."""
    groups: tuple[int, ...] = ()
    """Of each sample its batch; empty for one kind."""
    interval: tuple[float, float] | None = None
    """95 % interval of the median."""
    remark: str = ""
    """Why there is no figure or no interval."""


@dataclass(frozen=True, kw_only=True)
class Tiles(Chart):
    """Figures side by side: every repeat a dot, the median a line, its interval a shade."""

    KIND: ClassVar[str] = "tiles"

    tiles: tuple[Tile, ...]

    def plain(self) -> tuple[Table | Items, ...]:
        rows = tuple(
            (
                tile.label,
                tile.unit,
                significant(tile.median),
                "—" if tile.interval is None else " to ".join(map(significant, tile.interval)),
                f"{len(tile.samples):,}",
                significant(min(tile.samples, default=None)),
                significant(max(tile.samples, default=None)),
            )
            for tile in self.tiles
        )
        columns = ("figure", "unit", "median", "95 % interval", "repeats", "least", "most")
        remarks: dict[str, list[str]] = {}
        for tile in self.tiles:
            if tile.remark:
                remarks.setdefault(tile.remark, []).append(tile.label)
        table = Table(columns, rows, numeric=frozenset(range(2, 7)), important=(0, 2, 3, 1))
        items = tuple(f"{', '.join(labels)}: {remark}" for remark, labels in remarks.items())
        return (table, Items(items)) if items else (table,)

    def data(self) -> Any:
        return [
            {
                "label": tile.label,
                "unit": tile.unit,
                "text": significant(tile.median),
                "median": tile.median,
                "interval": tile.interval,
                "interval_text": "" if tile.interval is None else "–".join(map(significant, tile.interval)),
                "samples": [_short(value) for value, _ in _drawn(tile)],
                "groups": [group for _, group in _drawn(tile)],
                "remark": tile.remark,
            }
            for tile in self.tiles
        ]

    def pruned(self, share: float) -> Tiles:
        return replace(self, tiles=tuple(replace(tile, samples=(), groups=()) for tile in self.tiles))


def _drawn(tile: Tile) -> list[tuple[float, int]]:
    """The dots: all, or of very many as many as can be told apart, evenly over their order, both ends among them."""
    groups = tile.groups or (0,) * len(tile.samples)
    return evenly(list(zip(tile.samples, groups, strict=True)), MOST_DOTS)


def left_out(tiles: tuple[Tile, ...]) -> str:
    """That not every repeat is drawn, where that is so."""
    most = max((len(tile.samples) for tile in tiles), default=0)
    return f" {MOST_DOTS} of {most:,} repeats are drawn, evenly over their order." if most > MOST_DOTS else ""


def _short(value: float) -> float:
    return float(f"{value:.5g}")
