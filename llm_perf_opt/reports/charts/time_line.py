"""The events of one capture over time, to zoom into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from llm_perf_opt.analysis.kernel_names import short_name
from llm_perf_opt.records.drill_down import Drawn, DrillDown
from llm_perf_opt.reports.document import Chart, Paragraph, Table
from llm_perf_opt.reports.units import significant

SHOWN = 15
DEEPEST = 12
"""Rows of one thread."""


@dataclass(frozen=True, kw_only=True)
class TimeLine(Chart):
    """Threads and streams from above to below, time from left to right."""

    KIND: ClassVar[str] = "time_line"

    found: DrillDown

    def plain(self) -> tuple[Table | Paragraph, ...]:
        drawn, names = self.found.drawn, self.found.names
        order = sorted(range(len(drawn.name)), key=lambda row: (-drawn.duration_ns[row], row))[:SHOWN]
        rows = tuple(
            (
                names[drawn.name[row]],
                self.found.tracks[drawn.track[row]].name,
                significant(drawn.start_ns[row] / 1e6),
                significant(drawn.duration_ns[row] / 1e6),
            )
            for row in sorted(order, key=lambda row: drawn.start_ns[row])
        )
        table = Table(
            ("event", "thread or stream", "start ms", "ms"), rows, numeric=frozenset({2, 3}), names=frozenset({0})
        )
        return table, Paragraph(f"The {len(rows):,} longest, by start.")

    def data(self) -> Any:
        drawn = self.found.drawn
        used = {name: number for number, name in enumerate(dict.fromkeys(drawn.name))}
        before = (0, *drawn.start_ns)
        names, tracks = self.found.names, self.found.tracks
        kernels = {name for name, track in zip(drawn.name, drawn.track, strict=True) if tracks[track].kind == "device"}
        return {
            "names": [short_name(names[name]) if name in kernels else names[name] for name in used],
            "tracks": [[track.name, track.kind, track.events] for track in self.found.tracks],
            "track": drawn.track,
            "depth": [min(depth, DEEPEST - 1) for depth in drawn.depth],
            # Differences are small numbers, which take less room.
            "start": [start - last for start, last in zip(drawn.start_ns, before, strict=False)],
            "long": drawn.duration_ns,
            "name": [used[name] for name in drawn.name],
            "phases": self.found.phases,
        }

    def pruned(self, share: float) -> TimeLine:
        drawn = self.found.drawn
        kept = int(len(drawn.name) * share)
        rows = sorted(sorted(range(len(drawn.name)), key=lambda row: (-drawn.duration_ns[row], row))[:kept])
        columns = {name: tuple(getattr(drawn, name)[row] for row in rows) for name in Drawn.model_fields}
        found = self.found.model_copy(update={"drawn": Drawn(**columns)})
        return TimeLine(title=self.title, note=time_line_note(found), found=found)


def time_line_of(found: DrillDown, stage: str) -> TimeLine | None:
    """The events of a capture; None where it has none."""
    if not found.drawn.name:
        return None
    return TimeLine(title=f"Time line: {stage}", note=f"{stage}, {time_line_note(found)}", found=found)


def time_line_note(found: DrillDown) -> str:
    """How many events are drawn, and which."""
    shown, events = len(found.drawn.name), sum(track.events for track in found.tracks)
    if shown == events:
        return f"{found.source}: all {events:,} events."
    shortest = significant(min(found.drawn.duration_ns, default=0) / 1e3)
    return f"{found.source}: {shown:,} of {events:,} events are drawn, the longest ones, from {shortest} µs on."
