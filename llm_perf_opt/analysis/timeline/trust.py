"""Device work whose times cannot be: it is counted apart and is part of no mean, share or busy time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.analysis.timeline.intervals import Int, Packing, ordered, runs
from llm_perf_opt.records.columns import ABSENT, GRAPH, KERNEL, NONE, Events
from llm_perf_opt.records.factor import factorized

LONGEST_RECORDING_NS = 10 * 24 * 3600 * 10**9
TRUSTED, ABSENT_TIME, ZERO, NEGATIVE, BEYOND, CONTAINS = range(6)
REASONS = (
    "trusted",
    "its start or end is absent",
    "its start or duration is zero",
    "it ends before it starts",
    "it lies beyond the recording",
    "it contains a later kernel of its own stream",
)


def distrusted(events: Events, streams: Int) -> NDArray[np.int8]:
    """Why the times of each piece of device work cannot be; 0 where they can.

    Kernels that overlap the next one of their stream by a little can be, on Hopper and later.

    Args:
        streams: as `stream_numbers` gives them.
    """
    work = events.work
    reason = np.zeros(len(work), np.int8)
    absent = (work.start_ns == ABSENT) | (work.end_ns == ABSENT)
    reason[absent] = ABSENT_TIME
    there = ~absent
    reach = reach_of(events)
    if reach is not None:
        outside = [(times < reach[0]) | (times > reach[1]) for times in (work.start_ns, work.end_ns)]
        reason[there & (outside[0] | outside[1]) & ((work.start_ns != 0) | (work.end_ns != 0))] = BEYOND
        there = there & (reason == TRUSTED)
    reason[there & (work.end_ns < work.start_ns)] = NEGATIVE
    reason[there & ((work.end_ns == work.start_ns) | _at_zero(events))] = ZERO
    if events.recording_ns is not None:
        first, last = events.recording_ns
        held = there & (reason == TRUSTED)
        longer = np.where(held, work.end_ns - np.where(held, work.start_ns, 0), 0) > last - first
        reason[held & (longer | (work.start_ns > last) | (work.end_ns < first))] = BEYOND
    rows = np.flatnonzero(reason == TRUSTED)
    reason[rows[_containing(events, rows, streams[rows])]] = CONTAINS
    return reason


def reach_of(events: Events) -> tuple[int, int] | None:
    """The times that can be of one recording, where some of the file lie too far apart for it."""
    work, ranges, calls = events.work, events.ranges, events.calls
    columns = (work.start_ns, work.end_ns, ranges.start_ns, ranges.end_ns, calls.start_ns, calls.end_ns)
    some = [column[column != ABSENT] for column in columns if len(column)]
    if not any(len(column) for column in some):
        return None
    low = min(int(column.min()) for column in some if len(column))
    high = max(int(column.max()) for column in some if len(column))
    if high - low <= LONGEST_RECORDING_NS:
        return None
    middle = int(np.median(np.concatenate(some)))
    return middle - LONGEST_RECORDING_NS // 2, middle + LONGEST_RECORDING_NS // 2


def _at_zero(events: Events) -> NDArray[np.bool_]:
    """Work that starts at 0 though nothing on the host is that early: a time stamp that was never written."""
    earliest = min(
        (int(column.min()) for column in (events.calls.start_ns, events.ranges.start_ns) if len(column)), default=0
    )
    zero: NDArray[np.bool_] = (events.work.start_ns == 0) & (earliest > 0)
    return zero


def _containing(events: Events, rows: Int, stream: Int) -> NDArray[np.bool_]:
    """Which of these contain a kernel of their own stream that starts later and ends no later.

    Where the file does not say the stream, none does.
    """
    work = events.work
    if not len(rows):
        return np.zeros(0, np.bool_)
    every = len(rows) == len(work)  # then nothing is copied
    start, end = (column if every else column[rows] for column in (work.start_ns, work.end_ns))
    packing = Packing.over(int(stream.max()) + 1, start, end)
    starts, ends = packing.pack(stream, start), packing.pack(stream, end)
    del start, end
    order = ordered(starts)
    starts, ends = starts[order], ends[order]
    kind = work.kind[rows][order]
    never = np.iinfo(np.int64).max
    earliest = np.full(len(rows) + 1, never)
    np.copyto(earliest[:-1], ends, where=kind == KERNEL)
    np.minimum.accumulate(earliest[::-1], out=earliest[::-1])
    later: Int = earliest[1:]
    if (starts[1:] == starts[:-1]).any():  # behind all that start together
        heads, run = runs(starts)
        later = earliest[np.append(heads[1:], len(order))[run]]
    contains = np.zeros(len(rows), np.bool_)
    contains[order] = (later <= ends) & (kind != GRAPH)
    contains &= work.stream[rows] != NONE
    return contains


def stream_numbers(events: Events) -> Int:
    """A number for each (process, device, stream)."""
    work = events.work
    streams, stream = factorized(work.stream)
    devices = len(events.devices) + 1
    pair = (work.process.astype(np.int64) + 1) * devices + work.device + 1
    return factorized(pair * max(len(streams), 1) + stream)[1]


def stream_count(numbers: Int) -> int:
    return int(numbers.max()) + 1 if len(numbers) else 0
