"""Tables by time: devices, phases, steps, gaps, categories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.analysis.kernel_names import short_name
from llm_perf_opt.analysis.timeline.breakdown import CAUSES, PARTS
from llm_perf_opt.analysis.timeline.intervals import Cover, Int, ordered, twice_covered
from llm_perf_opt.analysis.timeline.nesting import range_nest
from llm_perf_opt.analysis.timeline.phases import Phases, processes_of_devices, windows
from llm_perf_opt.analysis.timeline.state import State
from llm_perf_opt.analysis.timeline.tables import WHOLE_GRAPH, category_of, is_kernel, sums
from llm_perf_opt.records.columns import ABSENT, GRAPH, KERNEL, NONE, START_END
from llm_perf_opt.records.device_timeline import (
    CategoryTime,
    DeviceTime,
    Gap,
    GapStatistics,
    HostDoing,
    LaunchStatistics,
    PhaseTime,
    StepGroup,
    ThreadDoing,
)
from llm_perf_opt.records.factor import factorized, ranks

LAUNCHES_AT_ONCE = 1 << 18
LONGEST_GAPS = 20
MOST_DOINGS = 20
LOOKS = 101
"""Times at which a gap is looked at, to say what the threads were in."""
NOTHING = "nothing recorded"


def parts_of(state: State, device: int, start: Int, end: Int) -> dict[str, object]:
    """The fields of `Parts` for these windows of one device, which do not overlap."""
    which = np.full(len(start), device, np.int64)
    parts = state.time.parts(which, start, end)
    causes = state.time.causes(which, start, end).sum(axis=1)
    found: dict[str, object] = {f"{name}_ns": int(parts[name].sum()) for name in PARTS}
    found["idle_by_cause"] = dict(zip(CAUSES, causes.tolist(), strict=True))
    return found


def extents(state: State) -> Iterator[tuple[int, int, int]]:
    """(device, start of its first trusted work, end of its last)."""
    work = state.events.work
    for device in range(len(state.events.devices)):
        mine = state.trusted & (work.device == device)
        if mine.any():
            yield device, int(work.start_ns[mine].min()), int(work.end_ns[mine].max())


def device_times(state: State) -> list[DeviceTime]:
    """Devices with trusted work."""
    events, work = state.events, state.events.work
    streams = state.streams
    rows = []
    for device, start, end in extents(state):
        mine = state.trusted & (work.device == device)
        kernels, graphs = mine & (work.kind == KERNEL), mine & (work.kind == GRAPH)
        facts = events.devices[device]
        rows.append(
            DeviceTime.model_validate(
                {
                    **parts_of(state, device, np.array([start]), np.array([end])),
                    "device": device,
                    "gpu": facts.gpu,
                    "process": events.processes[facts.process].pid if facts.process != NONE else None,
                    "ordinal": facts.ordinal,
                    "name": facts.name,
                    "start_ns": start,
                    "kernels": int(kernels.sum()),
                    "kernel_ns": time_of(state, kernels),
                    "graphs": int(graphs.sum()),
                    "graph_ns": time_of(state, graphs),
                    "copies": int((mine & ~kernels & ~graphs).sum()),
                    "streams": len(np.unique(streams[mine])),
                    "concurrent_ns": _concurrent(state, np.flatnonzero(mine), streams),
                    "gaps": _gap_statistics(state, device),
                    "launches": _launch_statistics(state, np.flatnonzero(mine)),
                }
            )
        )
    return rows


def time_of(state: State, chosen: NDArray[np.bool_]) -> int:
    """Durations of this trusted work added up, without a column of them."""
    work = state.events.work
    # Sums of times may exceed 64 bits; what they differ by does not.
    ends, starts = (column.sum(where=chosen, keepdims=True) for column in (work.end_ns, work.start_ns))
    return int((ends - starts)[0])


def _concurrent(state: State, rows: Int, streams: Int) -> int:
    """Time in which at least two streams were busy."""
    work = state.events.work
    _, stream = factorized(streams[rows])
    packing = state.time.packing
    if stream.max(initial=0) < 1:
        return 0
    cover = Cover.of(packing, stream, work.start_ns[rows], work.end_ns[rows])
    return twice_covered(cover.starts % packing.span, cover.ends % packing.span)


def _inner_gaps(state: State, device: int) -> Int:
    """The gaps between works of a device."""
    first, last = np.searchsorted(state.time.gaps.device, [device, device + 1]).tolist()
    return np.arange(first + 1, max(first + 1, last - 1))


def _gap_statistics(state: State, device: int) -> GapStatistics | None:
    mine = _inner_gaps(state, device)
    if not len(mine):
        return None
    lengths = np.sort(state.time.gaps.end_ns[mine] - state.time.gaps.start_ns[mine])
    return GapStatistics(
        count=len(lengths),
        total_ns=int(lengths.sum()),
        median_ns=ranked(lengths, 0.5),
        p95_ns=ranked(lengths, 0.95),
        longest_ns=int(lengths[-1]),
    )


def ranked(sorted_values: Int, share: float) -> int:
    """The value at this share of a sorted column: the smallest that so many are not above."""
    return int(sorted_values[max(0, int(np.ceil(share * len(sorted_values))) - 1)])


def _launch_statistics(state: State, rows: Int) -> LaunchStatistics:
    work, launches = state.events.work, state.launches
    rows = rows[launches.call[rows] != NONE]
    queued, queued_most = _queued(launches.start_ns(rows), work.start_ns[rows])
    parts = [
        _latencies(state, rows[first : first + LAUNCHES_AT_ONCE]) for first in range(0, len(rows), LAUNCHES_AT_ONCE)
    ]
    latency = np.sort(np.concatenate([np.empty(0, np.int64), *parts]))
    return LaunchStatistics(
        launches=len(rows),
        latency_median_ns=ranked(latency, 0.5) if len(latency) else None,
        latency_p95_ns=ranked(latency, 0.95) if len(latency) else None,
        latency_launches=len(latency),
        queued_mean=queued / len(rows) if len(rows) else 0.0,
        queued_most=queued_most,
    )


def _latencies(state: State, rows: Int) -> Int:
    """From the call to the start, of the launches that found nothing in their way."""
    started, called = state.events.work.start_ns[rows], state.launches.start_ns(rows)
    device = state.events.work.device[rows].astype(np.int64)
    # Nothing ran from the call to the start of the work, which began when the call had returned.
    free = state.time.busy.within(device, called, started) == 0
    free &= started >= state.launches.end_ns(rows)
    found: Int = (started - called)[free]
    return found


def _queued(called: Int, started: Int) -> tuple[int, int]:
    """How many launches had not started at each call: of all calls added up, and at most; both columns get sorted."""
    called.sort(kind="stable")
    started.sort(kind="stable")
    total = most = 0
    for first in range(0, len(called), LAUNCHES_AT_ONCE):
        some = called[first : first + LAUNCHES_AT_ONCE]
        queued = np.arange(first, first + len(some)) - np.searchsorted(started, some, "right")
        np.maximum(queued, 0, out=queued)
        total, most = total + int(queued.sum()), max(most, int(queued.max()))
    return total, most


def phase_times(state: State, phases: Phases) -> list[PhaseTime]:
    """Each phase on each device that its processes use."""
    return [
        PhaseTime.model_validate(
            {"name": name, "device": device, "occurrences": occurrences, **parts_of(state, device, *merged)}
        )
        for name, device, occurrences, merged in phase_windows(state, phases)
    ]


Windows = tuple[Int, Int]
"""Starts and ends of what does not overlap."""


def phase_windows(state: State, phases: Phases) -> Iterator[tuple[str, int, int, Windows]]:
    """(phase, device, occurrences, when)."""
    owners = processes_of_devices(state)
    used = [device for device, _, _ in extents(state)]
    ranges = state.events.ranges
    process_of = state.events.thread_process()
    for number, name in enumerate(phases.names[:-1]):
        mine = phases.rows[phases.numbers == number]
        process, start, end = windows(state, mine)
        count = Counter(process_of[ranges.thread[mine]].tolist())
        for device in used:
            chosen = np.isin(process, list(owners[device]))
            if chosen.any():
                merged = _merged(state, start[chosen], end[chosen])
                occurrences = sum(count[owner] for owner in owners[device])
                yield name, device, occurrences, merged


def _merged(state: State, start: Int, end: Int) -> Windows:
    packing = state.time.packing
    cover = Cover.of(packing, 0, start, end)
    return cover.starts + packing.first, cover.ends + packing.first


def phase_host_ns(state: State, phases: Phases) -> dict[str, int]:
    """Time of the host in each phase, added up over processes."""
    found = {}
    for number, name in enumerate(phases.names[:-1]):
        _, start, end = windows(state, phases.rows[phases.numbers == number])
        found[name] = int((end - start).sum())
    return found


def step_groups(state: State, phases: Phases) -> list[StepGroup]:
    """Each kind of step on each device that its processes use."""
    rows = []
    for name, phase, device, lengths, merged in step_windows(state, phases):
        parts = _no_parts(merged) if device is None else parts_of(state, device, *merged)
        facts = {"name": name, "phase": phase, "device": device}
        rows.append(StepGroup.model_validate({**facts, **_spread(np.sort(lengths)), **parts}))
    return rows


def step_windows(state: State, phases: Phases) -> Iterator[tuple[str, str | None, int | None, Int, Windows]]:
    """(kind of step, phase, device, length of each step, when)."""
    ranges = state.events.ranges
    owners = processes_of_devices(state)
    used: list[int | None] = [device for device, _, _ in extents(state)]
    process_of = state.events.thread_process()
    for name, (phase, mine) in phases.groups.items():
        for device in used or [None]:
            own = np.arange(len(mine))
            if device is not None:
                own = np.flatnonzero(np.isin(process_of[ranges.thread[mine]], list(owners[device])))
            if not len(own):
                continue
            start, end = ranges.start_ns[mine[own]], ranges.end_ns[mine[own]]
            yield name, phase, device, end - start, _merged(state, start, end)


def _no_parts(merged: Windows) -> dict[str, object]:
    wall = int((merged[1] - merged[0]).sum())
    nothing = {f"{name}_ns": 0 for name in PARTS}
    causes = dict.fromkeys(CAUSES, 0) | {"no_later_work": wall}
    return {**nothing, "wall_ns": wall, "idle_ns": wall, "idle_by_cause": causes}


def _spread(lengths: Int) -> dict[str, int]:
    median = ranked(lengths, 0.5)
    outliers = lengths[lengths > 2 * median]
    return {
        "steps": len(lengths),
        "mean_ns": round(float(lengths.mean())),
        "median_ns": median,
        "p95_ns": ranked(lengths, 0.95),
        "shortest_ns": int(lengths[0]),
        "longest_ns": int(lengths[-1]),
        "outliers": len(outliers),
        "outliers_ns": int(outliers.sum()),
    }


def category_times(state: State) -> list[CategoryTime]:
    """By device and falling time."""
    work, names = state.events.work, state.events.names
    rows = np.flatnonzero(is_kernel(state))
    key = work.device[rows].astype(np.int64)
    key *= 2
    key += work.kind[rows] == GRAPH
    key *= len(names)
    key += work.name[rows]
    keys, group = factorized(key)
    del key
    calls = sums(group, len(keys))
    total = sums(group, len(keys), work.end_ns[rows] - work.start_ns[rows])
    found: dict[tuple[int, str], list[int]] = {}
    for key, count, ns in zip(keys.tolist(), calls.tolist(), total.tolist(), strict=True):
        device, graph = key // len(names) // 2, key // len(names) % 2
        words = WHOLE_GRAPH if graph else category_of(state, KERNEL, key % len(names))
        entry = found.setdefault((device, words), [0, 0])
        entry[0] += count
        entry[1] += ns
    whole = Counter[int]()
    for (device, _), (_, ns) in found.items():
        whole[device] += ns
    table = [
        CategoryTime(device=device, category=words, kernels=count, total_ns=ns, share=ns / whole[device])
        for (device, words), (count, ns) in found.items()
    ]
    return sorted(table, key=lambda row: (row.device, -row.total_ns, row.category))


def longest_gaps(state: State, host: HostNames) -> list[Gap]:
    """The longest gaps of all devices, with what every thread of the process was in."""
    gaps = state.time.gaps
    rows = np.empty(0, np.int64)
    for some in _inner_gaps_of_all(state):
        rows = np.append(rows, some)
        length = gaps.end_ns[rows] - gaps.start_ns[rows]
        rows = rows[np.lexsort((gaps.device[rows], gaps.start_ns[rows], -length))][:LONGEST_GAPS]
    causes = state.time.causes_in(rows, gaps.end_ns[rows])
    found = []
    for position, gap in enumerate(rows.tolist()):
        ender = int(gaps.ender[gap])
        start, end = int(gaps.start_ns[gap]), int(gaps.end_ns[gap])
        name = state.events.names[state.events.work.name[ender]]
        found.append(
            Gap(
                device=int(gaps.device[gap]),
                start_ns=start,
                duration_ns=end - start,
                ended_by=short_name(name) if state.events.work.kind[ender] == KERNEL else name,
                idle_by_cause={cause: ns for cause, ns in zip(CAUSES, causes[:, position].tolist(), strict=True) if ns},
                threads=tuple(host.during(start, end, _process_of(state, ender))),
            )
        )
    return found


def _process_of(state: State, row: int) -> int:
    thread = int(state.launches.thread(np.array([row]))[0])
    return int(state.events.work.process[row]) if thread == NONE else state.events.threads[thread].process


def waited_for(state: State, host: HostNames) -> list[HostDoing]:
    """What the launching threads were in while devices waited for them, longest first."""
    gaps = state.time.gaps
    found: Counter[int] = Counter()
    for rows in _inner_gaps_of_all(state):
        call, _, thread = state.time.called(rows)
        start = gaps.start_ns[rows]
        called = np.clip(call, start, gaps.end_ns[rows])
        late = (call != ABSENT) & (called > start)
        start, called = start[late], called[late]
        keys, group = factorized(host.at(thread[late], (start + called) // 2))
        total = sums(group, len(keys), called - start)
        found.update(dict(zip(keys.tolist(), total.tolist(), strict=True)))
    named = [
        HostDoing(name=NOTHING if key == NONE else state.events.names[key], total_ns=ns) for key, ns in found.items()
    ]
    return sorted(named, key=lambda row: (-row.total_ns, row.name))[:MOST_DOINGS]


def _inner_gaps_of_all(state: State) -> Iterator[Int]:
    """The gaps between works of each device, some at a time."""
    for device, _, _ in extents(state):
        rows = _inner_gaps(state, device)
        for first in range(0, len(rows), LAUNCHES_AT_ONCE):
            yield rows[first : first + LAUNCHES_AT_ONCE]


class HostNames:
    """What threads were in: a call, else the innermost range, operator or Python function."""

    def __init__(self, state: State) -> None:
        self._events = state.events
        ranges, calls = state.events.ranges, state.events.calls
        self._nest = state.nest
        self._rows: Int = state.nested
        rows = np.flatnonzero(ranges.kind != START_END)
        if len(rows) > len(self._rows):
            self._rows = rows
            self._nest = range_nest(state.events, rows)
        self._packing = state.time.packing
        starts = self._packing.pack(calls.thread, calls.start_ns)
        ends = self._packing.pack(calls.thread, calls.end_ns)
        order = ordered(starts, ties=lambda at: (-ends[at], ranks(state.events.names)[calls.name[at]]))
        starts, ends = starts[order], ends[order]
        np.maximum.accumulate(ends, out=ends)
        # Of calls that hold others, or overlap, the outermost names what the thread was in.
        opens = np.append(True, starts[1:] >= ends[:-1])[: len(ends)]
        last = np.append(opens[1:], True)[: len(ends)]
        self._starts, self._reached, self._calls = starts[opens], ends[last], order[opens].astype(np.int32)

    def at(self, thread: Int, time: Int) -> Int:
        """The name; -1 where nothing was recorded."""
        inner = self._nest.innermost(thread, time)
        ranges = self._events.ranges
        found = np.full(len(time), NONE, np.int64)
        if len(self._rows):
            found = np.where(inner == NONE, NONE, ranges.name[self._rows[np.maximum(inner, 0)]])
        if len(self._starts):
            packed = self._packing.pack(thread, time)
            last = np.searchsorted(self._starts, packed, "right") - 1
            within = (last >= 0) & (self._reached[np.maximum(last, 0)] > packed)
            found = np.where(within, self._events.calls.name[self._calls[np.maximum(last, 0)]], found)
        return found

    def during(self, start: int, end: int, process: int) -> list[ThreadDoing]:
        """What each thread of a process was in most of the time, those with something first."""
        looks = start + (2 * np.arange(LOOKS) + 1) * (end - start) // (2 * LOOKS)
        found = []
        for number, thread in enumerate(self._events.threads):
            if process not in (NONE, thread.process):
                continue
            names = Counter(self.at(np.full(LOOKS, number), looks).tolist())
            name, count = min(names.items(), key=lambda item: (-item[1], item[0]))
            doing = NOTHING if name == NONE else self._events.names[name]
            found.append(ThreadDoing(thread=str(thread.name or thread.tid), doing=doing, share=count / LOOKS))
        return sorted(found, key=lambda row: (row.doing == NOTHING, row.thread))[:MOST_DOINGS]
