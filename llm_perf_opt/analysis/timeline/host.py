"""What the threads of the host were in: the time that each spent in blocking calls, operators, ranges, Python."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.analysis.timeline.intervals import Cover, Int, Packing
from llm_perf_opt.analysis.timeline.nesting import NONE, Nest, range_nest
from llm_perf_opt.records.columns import OPERATOR, PYTHON, START_END, Events

BLOCKING_CALLS = re.compile(
    r"^(?:cuda|cu|hip)(?:"
    r"\w*Synchronize"  # waits for a device, a stream or an event
    r"|Mem(?:cpy|set)(?!\w*Async)\w*"  # waits for its copy
    r"|(?:Malloc|Free|Host(?:Alloc|Register|Unregister|Malloc|Free)|Mem(?:Alloc|Free|Create|Map|Unmap|SetAccess))(?!\w*Async)\w*"
    r"|(?:Module|Library)(?:Load|Unload|Get)\w*"  # reads code, and may wait for the device
    r"|GraphInstantiate\w*|GraphExecDestroy|StreamDestroy\w*|CtxCreate\w*|DeviceReset|DeviceGetStreamPriorityRange"
    r")(?:_v\d+)?$"
)
"""Calls in which a thread waits: for the device, or for the driver to do something slow."""


@dataclass(frozen=True, slots=True)
class HostTime:
    """Time of each thread, by what it was in. Each cover holds the ones before it too."""

    blocking: Cover
    operators: Cover
    ranges: Cover
    """… and where the innermost of ranges and Python functions is a range."""
    python: Cover

    def split(self, thread: NDArray[np.integer], start: Int, end: Int) -> tuple[Int, Int, Int, Int, Int]:
        """Time in a blocking call, an operator, a range, a Python function, and in nothing that was recorded."""
        parts = [
            cover.within(thread, start, end) for cover in (self.blocking, self.operators, self.ranges, self.python)
        ]
        blocking, operators, ranges, python = parts
        rest = np.maximum(end - start, 0) - python
        return blocking, operators - blocking, ranges - operators, python - ranges, rest


def host_time(events: Events, packing: Packing, nest: Nest | None = None) -> HostTime:
    """The time of all threads.

    Args:
        nest: of all ranges, where there is one.
    """
    ranges, calls = events.ranges, events.calls
    blocks = np.array([BLOCKING_CALLS.match(name) is not None for name in events.names], np.bool_)
    rows = np.flatnonzero(blocks[calls.name]) if len(calls) else np.empty(0, np.int64)
    blocking = Cover.of(packing, calls.thread[rows], calls.start_ns[rows], calls.end_ns[rows])
    operators = blocking.joined(_of_kind(events, packing, ranges.kind == OPERATOR))
    python = ranges.kind == PYTHON
    plain = (ranges.kind != OPERATOR) & (ranges.kind != START_END) & ~python
    if python.any():
        inner = operators.joined(_where_innermost(events, packing, plain | python, plain))
        everything = inner.joined(_of_kind(events, packing, plain | python))
    else:
        if nest is not None and plain.all():
            plain = nest.parents() == NONE  # what the outermost ones cover
        inner = operators.joined(_of_kind(events, packing, plain))
        everything = inner
    return HostTime(blocking, operators, inner, everything)


def _of_kind(events: Events, packing: Packing, chosen: NDArray[np.bool_]) -> Cover:
    ranges = events.ranges
    return Cover.of(packing, ranges.thread[chosen], ranges.start_ns[chosen], ranges.end_ns[chosen])


def _where_innermost(events: Events, packing: Packing, all_of: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> Cover:
    """Where the innermost of these is one of the wanted ones."""
    rows = np.flatnonzero(all_of)
    ranges = events.ranges
    thread, start, end = ranges.thread[rows], ranges.start_ns[rows], ranges.end_ns[rows]
    if not wanted.any():
        return Cover.of(packing, thread[:0], start[:0], end[:0])
    nest = range_nest(events, rows)
    owner, time = nest.boundaries(thread, start, end)
    inner = nest.innermost(owner, time)
    hit = np.flatnonzero((inner[:-1] != NONE) & wanted[rows[np.maximum(inner[:-1], 0)]])
    same = owner[hit] == owner[hit + 1]
    hit = hit[same]
    return Cover.of(packing, owner[hit], time[hit], time[hit + 1])
