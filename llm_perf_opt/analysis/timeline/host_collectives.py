"""Collectives of a rank without device kernels: gloo's, as its threads on the host record them.

A range of gloo runs from the time at which a thread of it takes the call up to the end of the exchange, as a kernel of
NCCL does. A thread of its own takes each, so what the rank did before is what the thread was in that made the call.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.analysis.kernel_names import synchronises
from llm_perf_opt.analysis.timeline.before import host_words, looked_back, nothing_before
from llm_perf_opt.analysis.timeline.collectives import GLOO, CollectiveRows, Collectives, Key, counted
from llm_perf_opt.analysis.timeline.devices import HostNames
from llm_perf_opt.analysis.timeline.intervals import Int
from llm_perf_opt.analysis.timeline.state import State
from llm_perf_opt.records.columns import NONE, Small

PREFIX = "gloo:"
CALLS = "c10d::"
"""Operators that make the calls."""
MEETING = "gloo:barrier"
"""Exchanges nothing: ranks meet before a phase, whatever each did until then, starting its profiler for one."""


def host_collectives(state: State) -> Collectives | None:
    """The collectives of gloo in a file; None where there are none."""
    ranges = state.events.ranges
    rows = _named(state, PREFIX)
    if not len(rows):
        return None
    rows = rows[np.lexsort((ranges.end_ns[rows], ranges.start_ns[rows]))]
    names, key = np.unique(ranges.name[rows], return_inverse=True)
    called = [state.events.names[name] for name in names.tolist()]
    keys = tuple(Key(name.removeprefix(PREFIX), GLOO, recorded=False, numbered=False) for name in called)
    ends = np.array([name != MEETING and synchronises(name) for name in called], np.bool_)[key]
    start, end = ranges.start_ns[rows], ranges.end_ns[rows]
    table = CollectiveRows(start, end, key.astype(np.int32), counted(np.asarray(key, np.int64)), ends.astype(np.int8))
    thread = _callers(state, start)
    host = HostNames(state)

    def doing(chosen: Int, since: Int, until: Int, words: dict[str, int]) -> NDArray[np.int64]:
        at = np.where(thread[chosen] == NONE, NONE, host.at(np.maximum(thread[chosen], 0), (since + until) // 2))
        said = (host_words(None if name == NONE else state.events.names[name]) for name in at.tolist())
        return np.array([words.setdefault(text, len(words)) for text in said], np.int64)

    looked = looked_back(start, end, ends, doing) if (thread != NONE).any() else nothing_before(len(rows))
    return Collectives(table, keys, looked, int((end - start).sum()))


def _named(state: State, prefix: str) -> Int:
    """Ranges whose names begin so."""
    ranges = state.events.ranges
    so = np.array([name.startswith(prefix) for name in state.events.names], np.bool_)
    return np.flatnonzero(so[ranges.name]) if len(so) else np.empty(0, np.int64)


def _callers(state: State, start: Int) -> Small:
    """The thread that made the last call before each of these times; -1 without one."""
    ranges = state.events.ranges
    calls = _named(state, CALLS)
    calls = calls[np.argsort(ranges.start_ns[calls], kind="stable")]
    last = np.searchsorted(ranges.start_ns[calls], start, "right") - 1
    threads = np.append(ranges.thread[calls], np.int32(NONE))
    return threads[last]
