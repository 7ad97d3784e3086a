"""What a rank did before it took part in a collective, for times back from it that are not known yet.

How long the others waited is only known when the ranks are compared, and by then this rank's events are gone. So it
is looked at over 1, 2, 4, … µs before each collective, back to the last one that held all ranks together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.analysis.kernel_names import short_name
from llm_perf_opt.analysis.timeline.breakdown import CAUSES, HOST_CAUSES
from llm_perf_opt.analysis.timeline.devices import HostNames
from llm_perf_opt.analysis.timeline.intervals import Int, ordered
from llm_perf_opt.analysis.timeline.state import State
from llm_perf_opt.records.columns import NONE

SHORTEST_NS = 1000
ROWS_AT_ONCE = 1 << 14
LOOKS = 24
"""The longest is 8.4 s."""
LONGEST_NAME = 80
BUSY = ("computed", "communicated", "copied")
WAITED = {
    "launch_not_recorded": "its GPU was idle, and the launch that ended this is not in the recording",
    "launch_call": "its host was in the launch call itself",
    "launch_latency": "launched work was on its way to the idle GPU",
    "device_turnaround": "its GPU turned to work that was already queued",
    "dependency": "its GPU waited for an event",
    "no_later_work": "nothing was launched",
}
_HOST = frozenset(CAUSES[HOST_CAUSES])


@dataclass(frozen=True, slots=True)
class Before:
    """What a rank mostly did in the times before each collective."""

    looks: NDArray[np.int32]
    """One row for each collective, one column for each time back (`SHORTEST_NS << column`): position in `words`, -1
    where that reaches behind the collective before."""
    words: tuple[str, ...]

    def in_last(self, row: int, length_ns: int) -> str | None:
        """What it mostly did in the last half, at least, of so long a time before a collective; None: not known."""
        column = min(max(length_ns // SHORTEST_NS, 1).bit_length() - 1, LOOKS - 1)
        found = self.looks[row, : column + 1]
        known = found[found != NONE]
        return self.words[int(known[-1])] if len(known) else None


Doing = Callable[[Int, Int, Int, dict[str, int]], NDArray[np.int64]]
"""What took most of the windows (of these rows, from, to), as positions in words, which grow."""


def before(state: State, rows: Int, holds: NDArray[np.bool_]) -> Before:
    """Look at the time before these works, which are sorted by start.

    Args:
        holds: which of them end at one time on all ranks: nothing before that is of interest to the next.
    """
    if not len(rows):
        return nothing_before(0)
    work = state.events.work
    device = work.device[rows].astype(np.int64)
    looking = _Looking(state)

    def doing(chosen: Int, start: Int, end: Int, words: dict[str, int]) -> NDArray[np.int64]:
        return looking.doing(device[chosen], start, end, words)

    return looked_back(work.start_ns[rows], work.end_ns[rows], holds, doing)


def nothing_before(rows: int) -> Before:
    """What is known where nobody looked."""
    return Before(np.full((rows, LOOKS), NONE, np.int32), ())


def looked_back(start: Int, end: Int, holds: NDArray[np.bool_], doing: Doing) -> Before:
    """Look at the time before each of these, one at least, which are sorted by start; `holds` is that of `before`."""
    found = nothing_before(len(start))
    words: dict[str, int] = {}
    ended = np.maximum.accumulate(np.where(holds, end, start[0]))
    free_from = np.append(start[:1] - (SHORTEST_NS << LOOKS), ended[:-1])
    for column in range(LOOKS):
        length = SHORTEST_NS << column
        every = np.flatnonzero((start - free_from >= length) | (column == 0))
        if not len(every):
            break
        for first in range(0, len(every), ROWS_AT_ONCE):
            chosen = every[first : first + ROWS_AT_ONCE]
            found.looks[chosen, column] = doing(chosen, start[chosen] - length, start[chosen], words)
    return Before(found.looks, tuple(words))


class _Looking:
    """What devices and hosts did in windows of time."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._host = HostNames(state)
        rows = np.flatnonzero(state.trusted)
        at = state.time.packing.pack(state.events.work.device[rows], state.events.work.start_ns[rows])
        order = ordered(at)
        self._starts, self._works = at[order], rows[order]
        gaps = state.time.gaps
        self._gaps = state.time.packing.pack(gaps.device, gaps.start_ns)

    def doing(self, device: Int, start: Int, end: Int, words: dict[str, int]) -> NDArray[np.int64]:
        """What took most of each of these windows of a device, as a position in `words`, which grows."""
        time = self._state.time
        parts, causes = time.parts(device, start, end), time.causes(device, start, end)
        busy = (parts["compute"], parts["exposed_communication"], parts["exposed_copy"])
        most = np.vstack([*busy, causes]).argmax(axis=0)
        middle = (start + end) // 2
        worked, launched_in = self._working(device, middle)
        names = np.where(most < len(BUSY), worked, self._hosts(device, middle))
        kinds, kind = np.unique(np.stack([most, names, launched_in], 1), axis=0, return_inverse=True)
        found = [words.setdefault(_words(self._state, *of), len(words)) for of in kinds.tolist()]
        return np.array(found, np.int64)[kind.reshape(-1)]

    def _working(self, device: Int, time: Int) -> tuple[Int, Int]:
        """The names of the last work that a device had started by then, and of what it was launched in."""
        events, owners = self._state.events, self._state.launches.owner
        last = np.searchsorted(self._starts, self._state.time.packing.pack(device, time), "right") - 1
        row = self._works[np.maximum(last, 0)]
        there = (last >= 0) & (events.work.device[row] == device)
        owned = there & (owners[row] != NONE)
        launched_in = np.full(len(row), NONE, np.int64)
        launched_in[owned] = events.ranges.name[owners[row[owned]]]
        return np.where(there, events.work.name[row], NONE), launched_in

    def _hosts(self, device: Int, time: Int) -> Int:
        """What the thread was in that launched what ends the gap at that time."""
        found = np.searchsorted(self._gaps, self._state.time.packing.pack(device, time), "right") - 1
        thread = self._state.time.called(np.maximum(found, 0))[2].astype(np.int64)
        return np.where(thread == NONE, NONE, self._host.at(np.maximum(thread, 0), time))


def _words(state: State, kind: int, name: int, launched_in: int) -> str:
    events = state.events
    if kind < len(BUSY):
        if name == NONE:
            return f"its GPU {BUSY[kind]}"
        of = "" if launched_in == NONE else f", launched in {_short(events.names[launched_in])}"
        return f"its GPU {BUSY[kind]}: {short_name(events.names[name])}{of}"
    cause = CAUSES[kind - len(BUSY)]
    if cause not in _HOST:
        return WAITED[cause]
    return host_words(None if name == NONE else events.names[name])


def host_words(name: str | None) -> str:
    """What a rank did whose host was in this; None: in nothing that was recorded."""
    return f"its host was in {'nothing that was recorded' if name is None else _short(name)}"


def _short(name: str) -> str:
    text = " ".join(name.split())
    return text if len(text) <= LONGEST_NAME else text[: LONGEST_NAME - 1] + "…"
