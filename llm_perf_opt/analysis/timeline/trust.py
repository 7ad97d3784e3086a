"""Device work whose times cannot be: it is counted apart and is part of no mean, share or busy time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.analysis.timeline.intervals import Int, Packing, ordered, runs
from llm_perf_opt.records.columns import ABSENT, GRAPH, KERNEL, Events

TRUSTED, ABSENT_TIME, ZERO, NEGATIVE, BEYOND, CONTAINS = range(6)
REASONS = (
    "trusted",
    "its start or end is absent",
    "its start or duration is zero",
    "it ends before it starts",
    "it lies beyond the recording",
    "it contains a later kernel of its own stream",
)


def distrusted(events: Events) -> NDArray[np.int8]:
    """Why the times of each piece of device work cannot be; 0 where they can.

    Kernels that overlap the next one of their stream by a little can be, on Hopper and later.
    """
    work = events.work
    reason = np.zeros(len(work), np.int8)
    absent = (work.start_ns == ABSENT) | (work.end_ns == ABSENT)
    reason[absent] = ABSENT_TIME
    there = ~absent
    reason[there & (work.end_ns < work.start_ns)] = NEGATIVE
    reason[there & ((work.end_ns == work.start_ns) | _at_zero(events))] = ZERO
    if events.recording_ns is not None:
        first, last = events.recording_ns
        held = there & (reason == TRUSTED)
        longer = np.where(held, work.end_ns - np.where(held, work.start_ns, 0), 0) > last - first
        reason[held & (longer | (work.start_ns > last) | (work.end_ns < first))] = BEYOND
    rows = np.flatnonzero(reason == TRUSTED)
    reason[rows[_containing(events, rows)]] = CONTAINS
    return reason


def _at_zero(events: Events) -> NDArray[np.bool_]:
    """Work that starts at 0 though nothing on the host is that early: a time stamp that was never written."""
    earliest = min(
        (int(column.min()) for column in (events.calls.start_ns, events.ranges.start_ns) if len(column)), default=0
    )
    return (events.work.start_ns == 0) & (earliest > 0)


def _containing(events: Events, rows: Int) -> NDArray[np.bool_]:
    """Which of these contain a kernel of their own stream that starts no earlier and ends no later."""
    work = events.work
    start, end, kind = work.start_ns[rows], work.end_ns[rows], work.kind[rows]
    stream = stream_numbers(events)[rows]
    if not len(rows):
        return np.zeros(0, np.bool_)
    packing = Packing.over(int(stream.max()) + 1, start, end)
    starts, ends = packing.pack(stream, start), packing.pack(stream, end)
    order = ordered(starts, -ends)
    kernel_ends = np.where(kind[order] == KERNEL, ends[order], np.iinfo(np.int64).max)
    later = np.minimum.accumulate(kernel_ends[::-1])[::-1]
    # Of equal intervals none contains the other: each looks behind the last of its equals.
    pairs = np.append(True, (np.diff(starts[order]) != 0) | (np.diff(ends[order]) != 0))
    heads = np.flatnonzero(pairs)
    behind = np.append(heads[1:], len(order))[np.cumsum(pairs) - 1]
    least = np.append(later, np.iinfo(np.int64).max)[behind]
    contains = np.zeros(len(rows), np.bool_)
    contains[order] = (least <= ends[order]) & (kind[order] != GRAPH)
    return contains


def stream_numbers(events: Events) -> Int:
    """A number for each (process, device, stream)."""
    work = events.work
    keys = np.stack([work.process.astype(np.int64), work.device.astype(np.int64), work.stream], 1)
    order = np.lexsort(keys.T[::-1])
    changed = np.append(True, (np.diff(keys[order], axis=0) != 0).any(axis=1)) if len(keys) else np.empty(0, np.bool_)
    numbers = np.empty(len(keys), np.int64)
    numbers[order] = np.cumsum(changed) - 1
    return numbers


def stream_count(numbers: Int) -> int:
    return int(numbers.max()) + 1 if len(numbers) else 0


__all__ = ["REASONS", "TRUSTED", "distrusted", "runs", "stream_count", "stream_numbers"]
