"""What lies in what: phase, module, operator, kernel; and the longest events of each thread and stream."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.analysis.timeline.intervals import Int
from llm_perf_opt.analysis.timeline.phases import Phases
from llm_perf_opt.analysis.timeline.state import State
from llm_perf_opt.analysis.timeline.tables import sums
from llm_perf_opt.records.columns import NONE, OPERATOR
from llm_perf_opt.records.drill_down import (
    KIND_KERNEL,
    KIND_OPERATOR,
    KIND_RANGE,
    KIND_SMALLER,
    Drawn,
    DrillDown,
    Paths,
    Track,
)
from llm_perf_opt.records.factor import distinct, factorized

MOST_PATHS, MOST_DRAWN, MOST_PHASES = 1_500, 4_000, 200
DEEPEST = 40
"""Ranges deeper than this belong to the path at this depth."""
UNATTRIBUTED = "launched in no range that was recorded"
_NUMBERED = re.compile(r"(\[\d+\]|#\d+)$")


def drill_down(state: State, phases: Phases, source: str) -> DrillDown:
    """The drill-down of one capture that is called `source`."""
    names = _Names(list(state.events.names))
    parents = state.nest.parents() if len(state.nested) else np.empty(0, np.int32)
    levels = _levels(parents)
    paths = _paths(state, names, parents, levels)
    kept, left_out = _pruned(paths, names)
    tracks, drawn, first = _drawn(state, levels, names)
    return DrillDown(
        source=source,
        names=tuple(names.used),
        paths=kept,
        paths_left_out=left_out,
        tracks=tracks,
        drawn=drawn,
        phases=_phases(state, phases, first),
    )


class _Names:
    """Names of events, and the few of them that the record holds."""

    def __init__(self, names: list[str]) -> None:
        self._numbers: dict[str, int] = {}
        self.all = names
        self.plain = np.array(
            [self._numbers.setdefault(_NUMBERED.sub("", name), len(self._numbers)) for name in names], np.int64
        )
        self.plain_names = list(self._numbers)
        self.used: dict[str, int] = {}

    def use(self, name: str) -> int:
        return self.used.setdefault(name, len(self.used))


@dataclass(frozen=True, slots=True)
class _Table:
    """Columns of paths, all of them."""

    parent: Int
    name: list[str]
    kind: Int
    calls: Int
    host_ns: Int
    device_ns: Int


def _levels(parents: NDArray[np.int32]) -> NDArray[np.int16]:
    """How many ranges are around each."""
    depth = np.zeros(len(parents), np.int16)
    level = np.flatnonzero(parents != NONE).astype(np.int32)
    # There may be millions: each round looks at those alone that lie deeper than the one before.
    for deep in range(1, DEEPEST):
        if not len(level):
            break
        depth[level] = deep
        level = level[depth[parents[level]] == deep]
    return depth


def _paths(state: State, names: _Names, parents: NDArray[np.int32], levels: NDArray[np.int16]) -> _Table:
    ranges = state.events.ranges
    mine = state.nested
    several = len(names.plain_names) * 2
    path = np.full(len(mine), NONE, np.int32)
    columns: list[tuple[Int, Int, Int, Int]] = []
    count = 0
    for level in range(min(int(levels.max(initial=-1)), DEEPEST - 1) + 1):
        rows = np.flatnonzero(levels == level)
        above = path[parents[rows]].astype(np.int64) if level else np.full(len(rows), NONE, np.int64)
        these = mine[rows]
        key = (above + 1) * several + names.plain[ranges.name[these]] * 2
        key += ranges.kind[these] == OPERATOR
        keys, group = factorized(key)
        path[rows] = count + group
        duration = ranges.end_ns[these] - ranges.start_ns[these]
        calls, time = sums(group, len(keys)), sums(group, len(keys), duration)
        columns.append((keys // several - 1, keys % several, calls, time))
        count += len(keys)
    deep = np.flatnonzero(path == NONE)
    path[deep] = path[parents[deep]] if len(deep) else path[deep]
    nothing = (np.empty(0, np.int64),) * 4
    parent, coded, calls, host = map(np.concatenate, zip(*columns, strict=True)) if columns else nothing
    table = _Table(
        parent,
        [names.plain_names[code // 2] for code in coded.tolist()],
        np.where(coded % 2 == 1, KIND_OPERATOR, KIND_RANGE),
        calls,
        host,
        np.zeros(len(parent), np.int64),
    )
    return _with_device(state, names, table, path)


def _with_device(state: State, names: _Names, table: _Table, path: NDArray[np.int32]) -> _Table:
    """The work of devices under the paths that launched it."""
    work = state.events.work
    rows = np.flatnonzero(state.trusted)
    if not len(rows):
        return table
    owner = state.launches.owner[rows]
    owned = owner != NONE
    # What nothing launched is in a path of its own, after the others.
    key = np.full(len(rows), len(table.parent), np.int64)
    if owned.any():
        key[owned] = path[np.searchsorted(state.nested, owner[owned])]
    del owner
    several = max(len(names.plain_names), 1)
    key *= several
    key += names.plain[work.name[rows]]
    keys, group = factorized(key)
    del key
    calls, time = sums(group, len(keys)), sums(group, len(keys), work.end_ns[rows] - work.start_ns[rows])
    extra = 0 if owned.all() else 1
    parent = np.concatenate([table.parent, np.full(extra, NONE, np.int64), keys // several])
    device = np.concatenate([table.device_ns, np.zeros(extra, np.int64), time])
    for row in range(len(parent) - 1, -1, -1):
        if parent[row] != NONE:
            device[parent[row]] += device[row]
    zeros = np.zeros(extra + len(keys), np.int64)
    return _Table(
        parent,
        [*table.name, *([UNATTRIBUTED] * extra), *(names.plain_names[key % several] for key in keys.tolist())],
        np.concatenate([table.kind, np.full(extra, KIND_RANGE), np.full(len(keys), KIND_KERNEL)]),
        np.concatenate([table.calls, np.full(extra, int((~owned).sum()), np.int64), calls]),
        np.concatenate([table.host_ns, zeros]),
        device,
    )


def _pruned(table: _Table, names: _Names) -> tuple[Paths, int]:
    """The paths with the largest shares of the host's or the devices' time; the others of each parent as one."""
    outermost = table.parent == NONE
    weight = np.zeros(len(table.parent))
    for column in (table.host_ns, table.device_ns):
        total = int(column[outermost].sum())
        if total:
            weight = np.maximum(weight, column / total)
    order = np.argsort(-weight, kind="stable")
    kept = np.zeros(len(weight), np.bool_)
    kept[order[:MOST_PATHS]] = True
    place = np.full(len(weight), NONE, np.int64)
    rows: list[tuple[int, int, int, int, int, int]] = []
    smaller: dict[int, list[int]] = {}
    for row, parent in enumerate(table.parent.tolist()):
        inside = parent == NONE or place[parent] != NONE
        if kept[row] and inside:
            place[row] = len(rows)
            figures = (int(column[row]) for column in (table.kind, table.calls, table.host_ns, table.device_ns))
            rows.append((int(place[parent]) if parent != NONE else NONE, names.use(table.name[row]), *figures))  # type: ignore[arg-type]
        elif inside:
            smaller.setdefault(parent, []).append(row)
    for parent, group in smaller.items():
        word = f"{len(group):,} smaller" if len(group) > 1 else table.name[group[0]]
        above = int(place[parent]) if parent != NONE else NONE
        added = (int(column[group].sum()) for column in (table.calls, table.host_ns, table.device_ns))
        rows.append((above, names.use(word), KIND_SMALLER, *added))  # type: ignore[arg-type]
    columns = tuple(zip(*rows, strict=True)) if rows else ((),) * 6
    left_out = len(table.parent) - int((place != NONE).sum())
    return Paths(**dict(zip(Paths.model_fields, columns, strict=True))), left_out


def _drawn(state: State, levels: NDArray[np.int16], names: _Names) -> tuple[tuple[Track, ...], Drawn, int]:
    """The longest events of the host and of the devices, half of each where there are both."""
    ranges, work, mine = state.events.ranges, state.events.work, state.nested
    trusted = np.flatnonzero(state.trusted)
    parts = (
        _Part("host", mine, ranges.thread, ranges.start_ns, ranges.end_ns, ranges.name, levels),
        _Part(
            "device", trusted, state.streams, work.start_ns, work.end_ns, work.name, np.zeros(len(trusted), np.int16)
        ),
    )
    starts = [int(part.start_ns[part.rows].min()) for part in parts if len(part.rows)]
    first = min(starts, default=0)
    share = MOST_DRAWN if not (len(mine) and len(trusted)) else MOST_DRAWN // 2
    tracks: list[Track] = []
    columns: list[tuple[int, int, int, int, int]] = []
    for part in parts:
        own = part.owner[part.rows]
        keys, group = factorized(own)
        counts = sums(group, len(keys))
        chosen = part.longest(share)
        used = distinct(group[chosen]).tolist()
        number = {at: len(tracks) + place for place, at in enumerate(used)}
        label = _thread_label if part.kind == "host" else _stream_label
        for at in used:
            row = int(part.rows[np.flatnonzero(group == at)[0]])
            tracks.append(Track(name=label(state, row), kind=part.kind, events=int(counts[at])))
        rows = part.rows[chosen]
        start = part.start_ns[rows]
        cells = (group[chosen], part.depth[chosen], start - first, part.end_ns[rows] - start, part.name[rows])
        columns += [
            (number[track], deep, begin, long, names.use(names.all[word]))
            for track, deep, begin, long, word in zip(*(column.tolist() for column in cells), strict=True)
        ]
    columns.sort(key=lambda row: (row[0], row[2], row[1]))
    drawn = tuple(zip(*columns, strict=True)) if columns else ((),) * 5
    return tuple(tracks), Drawn(**dict(zip(Drawn.model_fields, drawn, strict=True))), first


@dataclass(frozen=True, slots=True)
class _Part:
    """Events of the host, or of the devices."""

    kind: Literal["host", "device"]
    rows: NDArray[np.integer]
    """Those that count, of the columns that follow."""
    owner: NDArray[np.integer]
    """Thread or stream."""
    start_ns: Int
    end_ns: Int
    name: NDArray[np.int32]
    depth: NDArray[np.int16]
    """Of the rows that count."""

    def longest(self, most: int) -> Int:
        """Positions among `rows`, in their order."""
        if len(self.rows) <= most:
            return np.arange(len(self.rows))
        shortest_first = self.start_ns[self.rows]
        shortest_first -= self.end_ns[self.rows]
        return np.sort(np.argpartition(shortest_first, most)[:most])


def _thread_label(state: State, row: int) -> str:
    thread = state.events.threads[int(state.events.ranges.thread[row])]
    process = state.events.processes[thread.process].pid
    return f"thread {thread.name or thread.tid} of process {process}"


def _stream_label(state: State, row: int) -> str:
    work = state.events.work
    return f"GPU {state.events.devices[int(work.device[row])].ordinal}, stream {int(work.stream[row])}"


def _phases(state: State, phases: Phases, first: int) -> tuple[tuple[str, int, int], ...]:
    ranges = state.events.ranges
    rows = phases.rows[:MOST_PHASES]
    found = [
        (phases.names[number], int(ranges.start_ns[row]) - first, int(ranges.end_ns[row]) - first)
        for row, number in zip(rows.tolist(), phases.numbers.tolist(), strict=False)
    ]
    return tuple(sorted(found, key=lambda phase: (phase[1], -phase[2], phase[0])))
