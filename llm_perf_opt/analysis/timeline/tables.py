"""Tables by launch: kernels, operators, ranges, and what belongs to none of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.analysis.kernel_names import category, short_name
from llm_perf_opt.analysis.timeline.intervals import Cover, Int, ordered
from llm_perf_opt.analysis.timeline.nesting import NONE, Nest
from llm_perf_opt.analysis.timeline.phases import Phases
from llm_perf_opt.analysis.timeline.state import State
from llm_perf_opt.records.columns import COPY_KINDS, GRAPH, KERNEL, MEMORY_KINDS, SET
from llm_perf_opt.records.device_timeline import CopyTime, KernelTime, OperatorTime, RangeTime, Unattributed
from llm_perf_opt.records.factor import factorized

WHOLE_GRAPH = "CUDA graph, traced whole"


def is_kernel(state: State) -> NDArray[np.bool_]:
    """Trusted kernels and graphs."""
    kind = state.events.work.kind
    return state.trusted & ((kind == KERNEL) | (kind == GRAPH))


def category_of(state: State, row_kind: int, name: int) -> str:
    return WHOLE_GRAPH if row_kind == GRAPH else category(state.events.names[name])


def kernel_table(state: State, phases: Phases) -> list[KernelTime]:
    """By falling total time, then phase and name."""
    rows = np.flatnonzero(is_kernel(state))
    work, names = state.events.work, state.events.names
    phase = phases.of(state.launches.thread[rows], state.launches.start_ns[rows])
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
    own = self_times(Nest(thread, start, end), start, end)
    phase = phases.of(thread, start)
    several = len(names) + 1
    keys, group = factorized((phase * several + shapes + 1) * several + name)
    total = union_by_group(state, thread, group, start, end)
    device = np.zeros(len(keys), np.int64)
    owned = np.flatnonzero(state.trusted & (state.launches.owner != NONE))
    where = np.full(len(ranges), NONE, np.int64)
    where[mine] = np.arange(len(mine))
    work = state.events.work
    np.add.at(device, group[where[state.launches.owner[owned]]], work.end_ns[owned] - work.start_ns[owned])
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


def self_times(nest: Nest, start: Int, end: Int) -> Int:
    """Durations less the time of what each holds directly; a child may end a little after its parent."""
    parents = nest.parents()
    inner = np.flatnonzero(parents != NONE)
    around = parents[inner]
    own = end - start
    np.subtract.at(own, around, np.minimum(end[inner], end[around]) - start[inner])
    return own


def union_by_group(state: State, thread: Int, group: Int, start: Int, end: Int) -> Int:
    """Time covered by each group on each thread, added up over threads."""
    groups = int(group.max()) + 1 if len(group) else 0
    threads = len(state.events.threads)
    pairs, pair = factorized(group * threads + thread)
    cover = Cover.of(type(state.time.packing).over(len(pairs), start, end), pair, start, end)
    owner = pairs[cover.starts // cover.packing.span] // threads
    return sums(owner, groups, cover.ends - cover.starts)


def range_table(state: State) -> list[RangeTime]:
    """Ranges by falling kernel time, then name."""
    ranges, names, work = state.events.ranges, state.events.names, state.events.work
    mine = state.nested
    if not len(mine):
        return []
    thread, start, end = ranges.thread[mine].astype(np.int64), ranges.start_ns[mine], ranges.end_ns[mine]
    keys, group = factorized((ranges.domain[mine].astype(np.int64) + 1) * len(names) + ranges.name[mine])
    threads = len(state.events.threads)
    pairs, pair = factorized(group * threads + thread)
    cover = Cover.of(state.time.packing.over(max(len(pairs), threads), start, end + 1), pair, start, end)
    owner = pairs[cover.starts // cover.packing.span]
    kernels, kernel_ns = _launched_in(state, cover, owner % threads)
    own = np.zeros(len(keys), np.int64)
    owned = np.flatnonzero(is_kernel(state) & (state.launches.owner != NONE))
    where = np.full(len(ranges), NONE, np.int64)
    where[mine] = np.arange(len(mine))
    np.add.at(own, group[where[state.launches.owner[owned]]], work.end_ns[owned] - work.start_ns[owned])
    of_key = owner // threads
    columns = (
        keys, sums(group, len(keys)), sums(of_key, len(keys), cover.ends - cover.starts),
        sums(of_key, len(keys), kernels), sums(of_key, len(keys), kernel_ns), own,
    )  # fmt: skip
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


def _launched_in(state: State, cover: Cover, thread: Int) -> tuple[Int, Int]:
    """Kernels that were launched in each interval of a cover, and their time."""
    rows = np.flatnonzero(is_kernel(state) & (state.launches.thread != NONE))
    packing = cover.packing
    at = packing.pack(state.launches.thread[rows], state.launches.start_ns[rows])
    order = ordered(at)
    at, rows = at[order], rows[order]
    # Launches before the first or after the last range are clipped to a time that no range holds.
    work = state.events.work
    summed = np.append(0, np.cumsum(work.end_ns[rows] - work.start_ns[rows]))
    first = np.searchsorted(at, thread * packing.span + cover.starts % packing.span, "left")
    last = np.searchsorted(at, thread * packing.span + cover.ends % packing.span, "left")
    return last - first, summed[last] - summed[first]


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
