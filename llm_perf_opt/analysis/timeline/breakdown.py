"""Where each nanosecond of a device went: compute, exposed communication, exposed copies, idle and its causes.

Every part is a function of time that says how much of it there was before, so any window is two look-ups, and the
parts of any window add up to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.analysis.timeline.host import HostTime, host_time
from llm_perf_opt.analysis.timeline.intervals import Cover, Int, Packing, ordered
from llm_perf_opt.analysis.timeline.launches import Launches
from llm_perf_opt.analysis.timeline.nesting import Nest
from llm_perf_opt.analysis.timeline.trust import stream_count
from llm_perf_opt.records.columns import ABSENT, COPY, NONE, SET, WAIT_STREAM_EVENT, Events, Small

CAUSES = (
    "launch_not_recorded", "host_blocking_call", "host_operator", "host_range", "host_python", "host_unrecorded",
    "launch_call", "launch_latency", "device_turnaround", "dependency", "no_later_work",
)  # fmt: skip
HOST_CAUSES = slice(1, 6)
GAPS_AT_ONCE = 1 << 16
MOST_SUMS = 1 << 20
"""Sums by cause that are kept of the gaps of a file."""
PARTS = ("wall", "busy", "compute", "communication", "exposed_communication", "copy", "exposed_copy", "idle")


@dataclass(frozen=True, slots=True)
class Gaps:
    """The idle times of all devices, by device and start; of each device the first and the last are open ended."""

    device: Small
    start_ns: Int
    end_ns: Int
    ender: Small
    """The work that ends it; -1 where none does."""
    last: NDArray[np.bool_]
    """No later work on this device."""


@dataclass(frozen=True, slots=True)
class DeviceTime:
    """The time of all devices of a file."""

    packing: Packing
    compute: Cover
    communication: Cover
    copies: Cover
    computing_or_communicating: Cover
    busy: Cover
    gaps: Gaps
    launches: Launches
    streams: Int
    """The number of the stream of each piece of work."""
    host: HostTime
    waits: Cover
    """Of each stream, for events."""
    gaps_a_sum: int
    causes_before: dict[int, Int]
    """Idle time by cause in all gaps before each so many-th one; a cause that there is none of is left out."""

    def parts(self, device: NDArray[np.integer], start: Int, end: Int) -> dict[str, Int]:
        """PARTS of each window, in nanoseconds."""
        covers = (self.busy, self.compute, self.communication, self.computing_or_communicating, self.copies)
        busy, compute, communication, both, copies = (cover.within(device, start, end) for cover in covers)
        wall = np.maximum(end - start, 0)
        return {
            "wall": wall,
            "busy": busy,
            "compute": compute,
            "communication": communication,
            "exposed_communication": both - compute,
            "copy": copies,
            "exposed_copy": busy - both,
            "idle": wall - busy,
        }

    def called(self, gap: Int) -> tuple[Int, Int, Small]:
        """Start, end and thread of the call that launched what ends each gap; ABSENT, ABSENT and -1 without one."""
        ender = self.gaps.ender[gap]
        some = np.flatnonzero(ender != NONE)
        rows = ender[some]
        start = np.full(len(gap), ABSENT, np.int64)
        end = start.copy()
        thread = np.full(len(gap), NONE, np.int32)
        start[some], end[some] = self.launches.start_ns(rows), self.launches.end_ns(rows)
        thread[some] = self.launches.thread(rows)
        return start, end, thread

    def causes(self, device: NDArray[np.integer], start: Int, end: Int) -> Int:
        """Idle time of each window by cause, one row a cause."""
        found = self._causes_until(device, end) - self._causes_until(device, start)
        return np.where(end > start, found, 0)

    def _causes_until(self, device: NDArray[np.integer], time: Int) -> Int:
        at = self._gaps_at(device, time)
        found = self.causes_in(at, np.minimum(time, self.gaps.end_ns[at]))
        for cause, before in self.causes_before.items():
            found[cause] += before[at // self.gaps_a_sum]
        behind = at % self.gaps_a_sum
        most = max(1, GAPS_AT_ONCE // self.gaps_a_sum)
        for first in range(0, len(at) if behind.any() else 0, most):
            some = slice(first, first + most)
            ends = np.cumsum(behind[some])
            firsts = ends - behind[some]
            each = np.repeat(at[some] - behind[some] - firsts, behind[some]) + np.arange(ends[-1])
            until = np.zeros((len(CAUSES), len(each) + 1), np.int64)
            np.cumsum(self.causes_in(each, self.gaps.end_ns[each]), axis=1, out=until[:, 1:])
            found[:, some] += until[:, ends] - until[:, firsts]
        return found

    def _gaps_at(self, device: NDArray[np.integer], time: Int) -> Int:
        """The gap of each device that begins last before each time."""
        found = np.empty(len(time), np.int64)
        for one in np.unique(device).tolist():
            mine = np.flatnonzero(device == one)
            first, last = np.searchsorted(self.gaps.device, [one, one + 1])
            inside = np.searchsorted(self.gaps.start_ns[first:last], time[mine], "right") - 1
            found[mine] = first + np.maximum(inside, 0)
        return found

    def causes_in(self, gap: Int, until: Int) -> Int:
        """Idle time of gaps by cause, up to these times."""
        start, end = self.gaps.start_ns[gap], self.gaps.end_ns[gap]
        until = np.clip(until, start, end)
        found = np.zeros((len(CAUSES), len(gap)), np.int64)
        last = self.gaps.last[gap]
        call_start, call_end, thread = self.called(gap)
        recorded = (call_start != ABSENT) & ~last
        found[10] = np.where(last, until - start, 0)
        found[0] = np.where(last | recorded, 0, until - start)
        rows = np.flatnonzero(recorded)
        chosen, start, end, until = gap[rows], start[rows], end[rows], until[rows]
        call_start, call_end, thread = call_start[rows], call_end[rows], thread[rows]
        called = np.clip(call_start, start, end)
        returned = np.clip(call_end, called, end)
        late = np.flatnonzero(np.minimum(called, until) > start)
        parts = self.host.split(thread[late], start[late], np.minimum(called, until)[late])
        for row, part in zip(range(1, 6), parts, strict=True):
            found[row, rows[late]] = part
        found[6, rows] = np.maximum(np.minimum(returned, until) - called, 0)
        after = np.maximum(until - returned, 0)
        waited = self.waits.within(self.streams[self.gaps.ender[chosen]], returned, until)
        ran_dry = call_end >= start
        found[7, rows] = np.where(ran_dry, after - waited, 0)
        found[8, rows] = np.where(ran_dry, 0, after - waited)
        found[9, rows] = waited
        return found


def device_time(
    events: Events,
    launches: Launches,
    trusted: NDArray[np.bool_],
    communicates: NDArray[np.bool_],
    numbers: Int,
    *,
    nest: Nest | None = None,
) -> DeviceTime:
    """The time of all devices.

    Args:
        trusted: which work has times that can be.
        communicates: which work is communication between devices.
        numbers: the stream of each.
        nest: of all ranges of the host, where there is one.
    """
    work = events.work
    rows = np.flatnonzero(trusted & (work.device != NONE)).astype(np.int32)
    all_rows = len(rows) == len(work)  # then nothing is copied
    device, start, end = (column if all_rows else column[rows] for column in (work.device, work.start_ns, work.end_ns))
    moves = (work.kind[rows] == COPY) | (work.kind[rows] == SET)
    talks = communicates[rows] & ~moves
    packing = _packing(events, start, end, stream_count(numbers))

    def cover(chosen: NDArray[np.bool_]) -> Cover:
        if chosen.all():
            return Cover.of(packing, device, start, end)
        return Cover.of(packing, device[chosen], start[chosen], end[chosen])

    compute, communication, copies = cover(~moves & ~talks), cover(talks), cover(moves)
    both = compute.joined(communication)
    busy = both.joined(copies)
    gaps = _gaps(events, launches, busy, rows, len(events.devices))
    waits = events.waits
    stream_of_waits = _streams_of_waits(events, numbers)
    waiting = (waits.kind == WAIT_STREAM_EVENT) & (stream_of_waits != NONE)
    found = DeviceTime(
        packing=packing,
        compute=compute,
        communication=communication,
        copies=copies,
        computing_or_communicating=both,
        busy=busy,
        gaps=gaps,
        launches=launches,
        streams=numbers,
        host=host_time(events, packing, nest),
        waits=Cover.of(packing, stream_of_waits[waiting], waits.start_ns[waiting], waits.end_ns[waiting]),
        gaps_a_sum=-(-len(gaps.device) // MOST_SUMS) or 1,
        causes_before={},
    )
    _sum_causes(found)
    return found


def _sum_causes(time: DeviceTime) -> None:
    """Fill in `causes_before`, some gaps at a time: all causes of all of them would take eleven columns."""
    gaps, each = len(time.gaps.device), time.gaps_a_sum
    at_once = max(1, GAPS_AT_ONCE // each) * each
    total = np.zeros((len(CAUSES), 1), np.int64)
    for first in range(0, gaps, at_once):
        some = np.arange(first, min(first + at_once, gaps))
        sums = np.add.reduceat(time.causes_in(some, time.gaps.end_ns[some]), np.arange(0, len(some), each), axis=1)
        until = total + np.cumsum(sums, axis=1)
        for cause in np.flatnonzero(until[:, -1]).tolist():
            before = time.causes_before.setdefault(cause, np.zeros(-(-gaps // each), np.int64))
            before[first // each : first // each + sums.shape[1]] = until[cause] - sums[cause]
        total = until[:, -1:]


def _packing(events: Events, start: Int, end: Int, streams: int) -> Packing:
    """Of all times that a window can begin or end at."""
    groups = max(len(events.devices), len(events.threads), streams)
    ends = events.ranges.end_ns
    hosts = (events.calls.start_ns, events.calls.end_ns, events.ranges.start_ns, ends[ends != ABSENT])
    return Packing.over(groups, start, end, *hosts)


def _gaps(events: Events, launches: Launches, busy: Cover, rows: Int, devices: int) -> Gaps:
    packing = busy.packing
    first, last = packing.first, packing.first + packing.span - 1
    device = (busy.starts // packing.span).astype(np.int32)
    each = np.arange(devices, dtype=np.int32)
    owners = np.append(each, device)  # one gap before each busy time, and one after the last
    starts = np.append(np.full(devices, first), busy.ends % packing.span + first)
    order = ordered(packing.pack(owners, starts))
    owners, starts = owners[order], starts[order]
    final = np.append(owners[1:] != owners[:-1], True)[: len(owners)]
    ends = np.where(final, last, 0)
    # What ends the gap before the k-th busy time of a device is that busy time.
    ends[~final] = busy.starts % packing.span + first
    ender = np.full(len(owners), NONE, np.int32)
    ender[~final] = _enders(events, launches, rows, busy.starts, packing)
    return Gaps(owners, starts, ends, ender, final)


def _enders(events: Events, launches: Launches, rows: Int, ends_at: Int, packing: Packing) -> Int:
    """Of these works the one that starts at each packed time; of several the one that was launched first."""
    work = events.work
    packed = packing.pack(work.device[rows], work.start_ns[rows])

    def keys(at: Int) -> tuple[Int, ...]:
        tied = rows[at]
        unrecorded = launches.call[tied] == NONE
        return unrecorded, launches.start_ns(tied), work.end_ns[tied], work.name[tied], launches.thread(tied)

    order = ordered(packed, ties=keys)
    return rows[order[np.searchsorted(packed, ends_at, "left", sorter=order)]]


def _streams_of_waits(events: Events, numbers: Int) -> Int:
    """The number of the stream of each wait; -1 where no work ran on it."""
    work, waits = events.work, events.waits
    if not len(waits) or not len(work):
        return np.full(len(waits), NONE, np.int64)
    _, first = np.unique(numbers, return_index=True)
    exact: dict[tuple[int, int, int], int] = {}
    by_process: dict[tuple[int, int], list[int]] = {}
    for number, row in enumerate(first.tolist()):
        process, device, stream = int(work.process[row]), int(work.device[row]), int(work.stream[row])
        exact[process, device, stream] = number
        by_process.setdefault((process, stream), []).append(number)

    def of(process: int, device: int, stream: int) -> int:
        # Recorded exports give waits device 0 in processes whose work all ran on another.
        several = by_process.get((process, stream), [])
        return exact.get((process, device, stream), several[0] if len(several) == 1 else NONE)

    columns = (waits.process.tolist(), waits.device.tolist(), waits.stream.tolist())
    return np.array([of(*key) for key in zip(*columns, strict=True)], np.int64)
