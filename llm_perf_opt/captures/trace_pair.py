"""Two traces that belong together: the capture of CUDA graphs, and a replay of them by the same process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llm_perf_opt.errors import LlmperfError
from llm_perf_opt.formats.json_chunks import holds

if TYPE_CHECKING:
    from llm_perf_opt.records.columns import Events

LAUNCHES_GRAPH = b"GraphLaunch"
"""In the name of the call that replays a graph, of CUDA and ROCm alike."""


@dataclass(frozen=True)
class TracePair:
    """The trace of a capture and that of a replay, read."""

    capture: Path
    replay: Path
    captured: Events
    replayed: Events


def read_pair(traces: Sequence[Path]) -> TracePair | None:
    """These traces as capture and replay, told by what is in them; None where they are no such pair."""
    if len(traces) != 2:
        return None
    from llm_perf_opt.analysis.timeline.captures import capture_first
    from llm_perf_opt.formats.torch_events import read_events

    one, other = traces
    try:
        if not any(holds(path, LAUNCHES_GRAPH) for path in traces):
            return None
        first, second = read_events(one), read_events(other)
    except (LlmperfError, OSError):
        return None  # what is damaged says so when it is imported alone
    order = capture_first(first, second)
    if order is None:
        return None
    return TracePair(one, other, first, second) if order else TracePair(other, one, second, first)
