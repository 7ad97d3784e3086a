"""What was launched in ranges of one name."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.analysis.timeline.intervals import Cover, Packing
from llm_perf_opt.analysis.timeline.launches import launch_places
from llm_perf_opt.analysis.timeline.state import State
from llm_perf_opt.records.columns import NONE
from llm_perf_opt.records.factor import distinct


def range_names(state: State) -> list[str]:
    """Ranges and operators that something can have been launched in."""
    names, used = state.events.names, distinct(state.events.ranges.name[state.nested])
    return sorted(names[name] for name in used.tolist())


def launched_in(state: State, name: str) -> NDArray[np.bool_]:
    """Of each piece of device work whether it was launched in a range of this name, in ranges inside it too."""
    ranges, names = state.events.ranges, state.events.names
    mine = state.nested[np.isin(ranges.name[state.nested], [number for number, of in enumerate(names) if of == name])]
    thread, start = launch_places(state.events, state.launches)
    rows = np.flatnonzero(thread != NONE)
    begins, ends = ranges.start_ns[mine], ranges.end_ns[mine]
    packing = Packing.over(len(state.events.threads), begins, ends, start[rows])
    cover = Cover.of(packing, ranges.thread[mine], begins, ends)
    found = np.zeros(len(thread), np.bool_)
    found[rows] = cover.within(thread[rows], start[rows], start[rows] + 1) > 0
    return found
