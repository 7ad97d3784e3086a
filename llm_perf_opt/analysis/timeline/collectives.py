"""The collectives of one rank: when it took part in each, which one it is on the other ranks, what it did before."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from llm_perf_opt.analysis.kernel_names import identity, short_name, synchronises
from llm_perf_opt.analysis.timeline.before import Before, before
from llm_perf_opt.analysis.timeline.state import State
from llm_perf_opt.records.columns import NONE, Columns, Int, Kind, Small
from llm_perf_opt.records.factor import factorized

GLOO = "gloo"
"""Where collectives of the host are."""
IN_A_CALL = 1 << 10
"""More than the kernels of one call of a collective."""


@dataclass(slots=True)
class CollectiveRows(Columns):
    """One row for each kernel that communicates, by start."""

    start_ns: Int = field(default_factory=lambda: np.empty(0, np.int64))
    """On the clock of the file, as is the end."""
    end_ns: Int = field(default_factory=lambda: np.empty(0, np.int64))
    key: Small = field(default_factory=lambda: np.empty(0, np.int32))
    """Position in `Collectives.keys`: which of them count together."""
    number: Int = field(default_factory=lambda: np.empty(0, np.int64))
    """Of this one among those of its key, counted alike on every rank."""
    synchronises: Kind = field(default_factory=lambda: np.empty(0, np.int8))
    """1 where it ends at one time on all ranks."""


@dataclass(frozen=True, slots=True)
class Key:
    """Collectives that are counted together."""

    what: str
    """As a reader calls it."""
    where: str
    """The communicator, or `stream 0` for the first stream that runs such kernels, …, or gloo."""
    recorded: bool
    """The file says the communicator."""
    numbered: bool
    """… and the number of each call on it: else they are counted from the start of the recording."""


@dataclass(frozen=True, slots=True)
class Collectives:
    """What one rank brings to a comparison."""

    rows: CollectiveRows
    keys: tuple[Key, ...]
    before: Before
    """What the rank did before each row."""
    communication_ns: int
    """Durations of all rows added up."""


def collectives_of(state: State, process: int | None = None) -> Collectives:
    """The collectives of a file, or of one process in it (a position in `Events.processes`).

    Work whose times cannot be trusted is left out.
    """
    events, work = state.events, state.events.work
    mine = state.communicates & state.trusted & (work.device != NONE)
    if process is not None:
        mine &= work.process == process
    rows = np.flatnonzero(mine)
    rows = rows[np.lexsort((work.end_ns[rows], work.start_ns[rows]))]
    said = {int(row): place for place, row in enumerate(events.collectives.work.tolist())}
    at = np.array([said.get(row, NONE) for row in rows.tolist()], np.int64)
    keys, key, call = _keys(state, rows, at)
    number = _numbers(key, call, np.array([found.numbered for found in keys], np.bool_))
    calls = [_called(state, row, place) for row, place in zip(rows.tolist(), at.tolist(), strict=True)]
    ends = {name: synchronises(name) for name in set(calls)}
    start, end = work.start_ns[rows], work.end_ns[rows]
    table = CollectiveRows(start, end, key, number, np.array([ends[name] for name in calls], np.int8))
    return Collectives(table, keys, before(state, rows, table.synchronises == 1), int((end - start).sum()))


def _called(state: State, row: int, place: int) -> str:
    """What the collective was called as where the file says, else the name of its kernel."""
    events = state.events
    name = NONE if place == NONE else int(events.collectives.name[place])
    return events.names[int(events.work.name[row]) if name == NONE else name]


def _keys(state: State, rows: Int, at: Int) -> tuple[tuple[Key, ...], Small, Int]:
    """The keys, the key of each row, and the number of its call where the file says that (else -1)."""
    events, work = state.events, state.events.work
    recorded = events.collectives
    streams = _stream_places(state, rows)
    found: dict[Key, int] = {}
    keys = np.empty(len(rows), np.int32)
    numbers = np.full(len(rows), NONE, np.int64)
    for position, (row, place) in enumerate(zip(rows.tolist(), at.tolist(), strict=True)):
        communicator = NONE if place == NONE else int(recorded.communicator[place])
        if communicator == NONE:
            name = events.names[int(work.name[row])]
            key = Key(identity(name), f"stream {streams[position]}", recorded=False, numbered=False)
        else:
            numbers[position] = recorded.sequence[place]
            what = _called(state, row, place)
            key = Key(what, events.names[communicator], recorded=True, numbered=bool(numbers[position] != NONE))
        keys[position] = found.setdefault(key, len(found))
    return tuple(found), keys, numbers


def _stream_places(state: State, rows: Int) -> list[int]:
    """Of each row the place of its stream among those that run kernels of its name, by number: ranks may number theirs
    differently."""
    work = state.events.work
    places = np.zeros(len(rows), np.int64)
    name = work.name[rows]
    for one in np.unique(name).tolist():
        mine = name == one
        places[mine] = np.unique(state.streams[rows[mine]], return_inverse=True)[1]
    return places.tolist()


def _numbers(key: Small, call: Int, numbered: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Int:
    """Rows of a key counted in their order; where calls are numbered, kernels of a call within it."""
    if not len(key):
        return np.empty(0, np.int64)
    by_call = numbered[key]
    groups, group = factorized(np.where(by_call, call, 0))
    within = counted(key * np.int64(len(groups)) + group)
    return np.where(by_call, call * IN_A_CALL + within, within)


def counted(group: Int) -> Int:
    """How many rows of the same group stand before each."""
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    heads = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    lengths = np.diff(np.append(heads, len(group)))
    counted = np.empty(len(group), np.int64)
    counted[order] = np.arange(len(group)) - np.repeat(heads, lengths)
    return counted


def told_by(key: Key) -> str:
    """What says that two collectives of a key are the same, beside being counted alike."""
    if key.recorded:
        return "communicator"
    return "name of the call" if key.where == GLOO else "name and stream of the kernel"


def shown(key: Key) -> str:
    """A key for a reader."""
    return f"{key.what if key.recorded else short_name(key.what)} on {key.where}"
