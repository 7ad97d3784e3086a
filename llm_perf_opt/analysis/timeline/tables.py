"""Tables by launch: kernels, operators, ranges, and what belongs to none of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.analysis.kernel_names import category, short_name
from llm_perf_opt.analysis.timeline.intervals import Cover, Int, Packing, ordered
from llm_perf_opt.analysis.timeline.launches import ALL, launch_places
from llm_perf_opt.analysis.timeline.nesting import NONE, Nest
from llm_perf_opt.analysis.timeline.phases import Phases
from llm_perf_opt.analysis.timeline.state import State
from llm_perf_opt.records.columns import COPY_KINDS, GRAPH, KERNEL, MEMORY_KINDS, OPERATOR, SET, Events
from llm_perf_opt.records.device_timeline import CopyTime, KernelTime, OperatorTime, RangeTime, Unattributed
from llm_perf_opt.records.factor import factorized, ranks

RANGES_AT_ONCE = 1 << 19
WHOLE_GRAPH = "CUDA graph, traced whole"


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables that have a row for each name."""

    kernels: list[KernelTime]
    operators: list[OperatorTime]
    """Empty where the file holds no operators."""
    ranges: list[RangeTime]


def tables_of(state: State, phases: Phases) -> Tables:
    operators = operator_table(state, phases) if has_operators(state.events) else []
    return Tables(kernel_table(state, phases), operators, range_table(state))


def has_operators(events: Events) -> bool:
    """Whether it is a trace of torch, whose host side is operators; other files have ranges."""
    return bool((events.ranges.kind == OPERATOR).any()) or events.about.tool == "torch.profiler"


def is_kernel(state: State) -> NDArray[np.bool_]:
    """Trusted kernels and graphs."""
    kind = state.events.work.kind
    kernels: NDArray[np.bool_] = state.trusted & ((kind == KERNEL) | (kind == GRAPH))
    return kernels


def category_of(state: State, row_kind: int, name: int) -> str:
    return WHOLE_GRAPH if row_kind == GRAPH else category(state.events.names[name])


def kernel_table(state: State, phases: Phases) -> list[KernelTime]:
    """By falling total time, then phase and name."""
    rows = np.flatnonzero(is_kernel(state))
    work, names = state.events.work, state.events.names
    phase = phases.of(*launch_places(state.events, state.launches, rows))
    keys, group = factorized((phase * 2 + (work.kind[rows] == GRAPH)) * len(names) + work.name[rows])
    duration = work.end_ns[rows] - work.start_ns[rows]
    calls, total = sums(group, len(keys)), sums(group, len(keys), duration)
    longest = np.zeros(len(keys), np.int64)
    np.maximum.at(longest, group, duration)
    table = []
    for key, count, ns, most in zip(keys.tolist(), calls.tolist(), total.tolist(), longest.tolist(), strict=True):
        name, graph = key % len(names), key // len(names) % 2
        table.append(
            KernelTime(
                phase=phases.names[key // len(names) // 2],
                name=names[name],
                short_name=names[name] if graph else short_name(names[name]),
                category=category_of(state, GRAPH if graph else KERNEL, name),
                calls=count,
                total_ns=ns,
                max_ns=most,
            )
        )
    return sorted(table, key=lambda row: (-row.total_ns, row.phase, row.name))


def operator_table(state: State, phases: Phases) -> list[OperatorTime]:
    """Operators, annotations and calls of the device's API, by falling device time, then host time."""
    ranges, calls, names = state.events.ranges, state.events.calls, state.events.names
    mine = state.nested
    thread = np.append(ranges.thread[mine], calls.thread).astype(np.int64)
    start, end = np.append(ranges.start_ns[mine], calls.start_ns), np.append(ranges.end_ns[mine], calls.end_ns)
    name = np.append(ranges.name[mine], calls.name).astype(np.int64)
    shapes = np.append(ranges.shapes[mine], np.full(len(calls), NONE))
    if not len(thread):
        return []
    places = ranks([*names, ""])  # the last one is of no shapes
    place = places[name].astype(np.int64) * len(places) + places[shapes]
    own = self_times(Nest(thread, start, end, place), thread, start, end)
    phase = phases.of(thread, start)
    several = len(names) + 1
    keys, group = factorized((phase * several + shapes + 1) * several + name)
    total = union_by_group(state, thread, group, start, end)
    device = np.zeros(len(keys), np.int64)
    owned = np.flatnonzero(state.trusted & (state.launches.owner != NONE))
    at = np.searchsorted(mine, state.launches.owner[owned])
    work = state.events.work
    np.add.at(device, group[at], work.end_ns[owned] - work.start_ns[owned])
    columns = (keys, sums(group, len(keys)), sums(group, len(keys), own), total, device)
    table = [
        OperatorTime(
            phase=phases.names[key // several // several],
            name=names[key % several],
            input_shapes="" if key // several % several == 0 else names[key // several % several - 1],
            calls=count,
            self_host_ns=alone,
            total_host_ns=whole,
            device_ns=on_device,
        )
        for key, count, alone, whole, on_device in zip(*(column.tolist() for column in columns), strict=True)
    ]
    return sorted(table, key=lambda row: (-row.device_ns, -row.self_host_ns, row.phase, row.name, row.input_shapes))


def self_times(nest: Nest, thread: Int, start: Int, end: Int) -> Int:
    """The time in which each is the innermost one of its thread."""
    if nest.crosses:
        owner, time = nest.boundaries(thread, start, end)
        inner = nest.innermost(owner, time)
        length = np.append(np.diff(time), 0)
        held = inner != NONE
        return sums(inner[held], len(start), length[held])
    parents = nest.parents()
    inner = np.flatnonzero(parents != NONE)
    own = end - start
    np.subtract.at(own, parents[inner], end[inner] - start[inner])
    return own


def union_by_group(state: State, thread: Int, group: Int, start: Int, end: Int) -> Int:
    """Time covered by each group on each thread, added up over threads."""
    groups = int(group.max()) + 1 if len(group) else 0
    threads = len(state.events.threads)
    pairs, pair = factorized(group * threads + thread)
    cover = Cover.of(Packing.over(len(pairs), start, end), pair, start, end)
    owner = pairs[cover.starts // cover.packing.span] // threads
    return sums(owner, groups, cover.ends - cover.starts)


def range_table(state: State) -> list[RangeTime]:
    """Ranges by falling kernel time, then name."""
    names, work = state.events.names, state.events.work
    mine = state.nested
    if not len(mine):
        return []
    keys, group = factorized(_named(state))
    host, kernels, kernel_ns = _by_union(state, group, len(keys))
    own = np.zeros(len(keys), np.int64)
    owned = np.flatnonzero(is_kernel(state) & (state.launches.owner != NONE))
    at = np.searchsorted(mine, state.launches.owner[owned])
    np.add.at(own, group[at], work.end_ns[owned] - work.start_ns[owned])
    columns = (keys, sums(group, len(keys)), host, kernels, kernel_ns, own)
    table = [
        RangeTime(
            name=names[key % len(names)],
            domain=None if key < len(names) else names[key // len(names) - 1],
            occurrences=count,
            host_ns=host,
            kernels=launched,
            kernel_ns=ns,
            own_kernel_ns=alone,
        )
        for key, count, host, launched, ns, alone in zip(*(column.tolist() for column in columns), strict=True)
    ]
    return sorted(table, key=lambda row: (-row.kernel_ns, -row.host_ns, row.name, row.domain or ""))


def _named(state: State) -> Int:
    """A number for the name and domain of each of the nested ranges."""
    ranges, mine = state.events.ranges, state.nested
    if not (ranges.domain != NONE).any():
        return ranges.name[mine]
    return (ranges.domain[mine].astype(np.int64) + 1) * len(state.events.names) + ranges.name[mine]


def _by_union(state: State, group: Int, groups: int) -> tuple[Int, Int, Int]:
    """Of each group of the nested ranges the time that it covers, and the kernels launched in it with their time.

    Some groups at a time: sorting takes several copies of what is sorted.
    """
    ranges, mine = state.events.ranges, state.nested
    threads = len(state.events.threads)
    pairs, pair = factorized(group * np.int64(threads) + ranges.thread[mine] if threads > 1 else group)
    found = np.zeros((3, groups), np.int64)
    launched = _Launched(state)
    ends = np.cumsum(sums(pair, len(pairs)))
    # In groups by a sort that is linear where there are few of them; within each the rows stay in their order.
    order = np.argsort(pair.astype(np.uint16) if len(pairs) < 1 << 16 else pair, kind="stable").astype(np.int32)
    first = 0
    while first < len(pairs):
        before = int(ends[first - 1]) if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + RANGES_AT_ONCE, "right")))
        some = order[before : ends[last - 1]]
        rows = mine[some]
        start, end = ranges.start_ns[rows], ranges.end_ns[rows]
        cover = Cover.of(Packing.over(last - first, start, end), pair[some] - first, start, end)
        span, low = cover.packing.span, cover.packing.first
        owner = pairs[first + cover.starts // span]
        thread, of_key = (owner % threads, owner // threads) if threads > 1 else (np.zeros_like(owner), owner)
        begins, stops = cover.starts % span + low, cover.ends % span + low
        for row, values in zip(found, (stops - begins, *launched.within(thread, begins, stops)), strict=True):
            np.add.at(row, of_key, values)
        first = last
    return found[0], found[1], found[2]


class _Launched:
    """Kernels by the thread and time of their launch."""

    def __init__(self, state: State) -> None:
        rows = np.flatnonzero(is_kernel(state) & (state.launches.thread(ALL) != NONE))
        self._packing = state.time.packing
        at = self._packing.pack(state.launches.thread(rows), state.launches.start_ns(rows))
        order = ordered(at)
        self._at, rows = at[order], rows[order]
        work = state.events.work
        self._summed = np.append(0, np.cumsum(work.end_ns[rows] - work.start_ns[rows]))

    def within(self, thread: Int, start: Int, end: Int) -> tuple[Int, Int]:
        """Kernels launched on a thread from each start to before its end, and their time."""
        if not len(self._at):
            return np.zeros(len(start), np.int64), np.zeros(len(start), np.int64)
        first = np.searchsorted(self._at, self._packing.pack(thread, start), "left")
        last = np.searchsorted(self._at, self._packing.pack(thread, end), "left")
        return last - first, self._summed[last] - self._summed[first]


def copy_table(state: State) -> list[CopyTime]:
    """Copies and sets by falling total time."""
    work = state.events.work
    rows = np.flatnonzero(state.trusted & (work.kind > GRAPH))
    kinds = len(COPY_KINDS) + 1  # sets are one more
    direction = np.where(work.kind[rows] == SET, len(COPY_KINDS), work.copy_kind[rows])
    key = ((work.device[rows].astype(np.int64) * kinds + direction) * 8 + work.source[rows]) * 8 + work.target[rows]
    keys, group = factorized(key)
    duration, size = work.end_ns[rows] - work.start_ns[rows], work.bytes[rows]
    columns = (
        keys, sums(group, len(keys)), sums(group, len(keys), duration), sums(group, len(keys), np.maximum(size, 0)),
        sums(group, len(keys), (size < 0).astype(np.int64)),
    )  # fmt: skip
    table = [
        CopyTime(
            device=key // 64 // kinds,
            direction="set" if key // 64 % kinds == len(COPY_KINDS) else COPY_KINDS[key // 64 % kinds],
            source=MEMORY_KINDS[key // 8 % 8],
            target=MEMORY_KINDS[key % 8],
            count=count,
            bytes=None if unsaid else moved,
            total_ns=ns,
            gb_per_s=None if unsaid or not ns else moved / ns,
        )
        for key, count, ns, moved, unsaid in zip(*(column.tolist() for column in columns), strict=True)
    ]
    return sorted(table, key=lambda row: (row.device, -row.total_ns, row.direction, row.source, row.target))


def unattributed(state: State) -> tuple[int, list[Unattributed]]:
    """Time of trusted device work that an operator or range launched, and why the rest belongs to none."""
    work, launches = state.events.work, state.launches
    duration = np.where(state.trusted, work.end_ns - np.where(state.trusted, work.start_ns, 0), 0)
    owned = state.trusted & (launches.owner != NONE)
    without_call = state.trusted & ~owned & (launches.call == NONE)
    outside = state.trusted & ~owned & (launches.call != NONE)
    reasons = (
        (
            "no call that launched it is recorded: it was made before the recording, or calls were not traced",
            without_call,
        ),
        ("launched in no operator or range", outside),
    )
    rows = [
        Unattributed(reason=reason, count=int(chosen.sum()), total_ns=int(duration[chosen].sum()))
        for reason, chosen in reasons
        if chosen.any()
    ]
    return int(duration[owned].sum()), rows


def sums(group: Int, groups: int, values: Int | None = None) -> Int:
    """Rows of each group, or the sum of their values, exactly."""
    if values is None:
        return np.bincount(group, minlength=groups).astype(np.int64)
    found = np.zeros(groups, np.int64)
    np.add.at(found, group, values)
    return found
