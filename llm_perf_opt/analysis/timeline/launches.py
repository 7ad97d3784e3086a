"""Which call launched a piece of device work, and which operator or range that call was in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.analysis.timeline.intervals import Int, ordered
from llm_perf_opt.analysis.timeline.nesting import Nest
from llm_perf_opt.analysis.timeline.steps import PROFILER_STEP
from llm_perf_opt.records.columns import ABSENT, NONE, OPERATOR, PYTHON, START_END, Calls, Events, Small
from llm_perf_opt.records.factor import looked_up, ranks

OLD_IDS_SHARE = 0.9
"""Where so many kernels have their correlation id as `External id`, that is no id of an operator: traces up to about
torch 2.1."""


Rows = NDArray[Any] | slice
ALL = slice(None)
WORK_AT_ONCE = 1 << 18


@dataclass(frozen=True, slots=True)
class Launches:
    """One element for each piece of device work."""

    calls: Calls
    call: Small
    """The call that launched it; -1 where none was recorded."""
    owner: Small
    """The innermost operator or range around the launch; -1 without one."""
    by_external_id: NDArray[np.bool_]
    """Its owner was found by `External id`, since no call was recorded."""
    ambiguous: int
    """Work that calls of several processes may have launched: of those none is taken."""

    def thread(self, rows: Rows) -> Small:
        """The threads of the calls; -1 without one."""
        return self._of_calls(self.calls.thread, rows, NONE)

    def start_ns(self, rows: Rows) -> Int:
        """When the calls started; ABSENT without one. Looked up, not kept: that would be a column of all work."""
        return self._of_calls(self.calls.start_ns, rows, ABSENT)

    def end_ns(self, rows: Rows) -> Int:
        """When the calls returned; ABSENT without one."""
        return self._of_calls(self.calls.end_ns, rows, ABSENT)

    def _of_calls(self, column: Int, rows: Rows, absent: int) -> Int:
        call = self.call[rows]
        if not len(column):
            return np.full(len(call), absent, column.dtype)
        found: Int = column[call]
        found[call == NONE] = absent
        return found


def launch_places(events: Events, launches: Launches, rows: Rows = ALL) -> tuple[Int, Int]:
    """The thread and time of these launches; without a recorded call those of the operator, if any."""
    thread, start = launches.thread(rows), launches.start_ns(rows)
    by_id = launches.by_external_id[rows]
    if by_id.any():
        owner = launches.owner[rows][by_id]
        thread[by_id], start[by_id] = events.ranges.thread[owner], events.ranges.start_ns[owner]
    return thread, start


def nesting_ranges(events: Events) -> Small:
    """The ranges that can be said to launch something.

    Python functions, ranges across threads and the profiler's own step around everything are not.
    """
    kind = events.ranges.kind
    chosen = (kind != PYTHON) & (kind != START_END)
    steps = [number for number, name in enumerate(events.names) if name.startswith(f"{PROFILER_STEP}#")]
    if steps:
        chosen &= ~np.isin(events.ranges.name, steps)
    return np.flatnonzero(chosen).astype(np.int32)


def find_launches(events: Events, nest: Nest, nested: Small) -> Launches:
    """Link device work to calls by (process, correlation id), and to ranges by the time of the call.

    Args:
        nest: of the ranges `nested`.
    """
    call, ambiguous = calls_of(events)
    linked = call != NONE
    owner = np.full(len(call), NONE, np.int32)
    if len(nested):
        rows = np.flatnonzero(linked)
        of = call[rows]
        inner = nest.innermost(events.calls.thread[of], events.calls.start_ns[of])
        owner[rows] = np.where(inner == NONE, NONE, nested[np.maximum(inner, 0)])
    external = _by_external_id(events, linked)
    by_id = external != NONE
    owner[by_id] = external[by_id]
    return Launches(events.calls, call, owner, by_id, ambiguous)


def calls_of(events: Events) -> tuple[Small, int]:
    """The call that launched each piece of device work, -1 where none was recorded; and how many are ambiguous."""
    work, calls = events.work, events.calls
    if not len(calls) or not len(work):
        return np.full(len(work), NONE, np.int32), 0
    named = np.flatnonzero(calls.correlation > 0).astype(np.int32)
    owner = events.thread_process()[calls.thread[named]].astype(np.int64)
    correlation: Int = calls.correlation[named]
    wanted: Int = work.correlation
    top = int(correlation.max(initial=0)) + 1
    if top * (len(events.processes) + 1) >= 1 << 62:  # ids that use all their bits
        ids = np.unique(correlation)
        correlation, top = looked_up(correlation, ids), len(ids)
        wanted = looked_up(work.correlation, ids)
        valid = wanted != NONE
    else:
        valid = (wanted > 0) & (wanted < top)
    keys = owner * top
    keys += correlation
    order = _by_id(keys, events, named)
    keys, rows = keys[order], named[order]
    del order
    known = valid & (work.process != NONE)
    found = _matched(keys, rows, work.process * np.int64(top) + wanted, known)
    anywhere = valid & (work.process == NONE)
    ambiguous = 0
    if anywhere.any():
        # Device events of this file do not say their process: an id stands for a call only if one process uses it.
        order = _by_id(correlation, events, named)
        ids, rows = correlation[order], named[order]
        hit = _matched(ids, rows, wanted, anywhere)
        several = _of_several(ids, owner[order])
        doubtful = (hit != NONE) & np.isin(wanted, several)
        ambiguous = int(doubtful.sum())
        found = np.where(anywhere & ~doubtful, hit, found)
    return found, ambiguous


def _by_id(ids: Int, events: Events, named: Int) -> Int:
    """The order of these calls by id; calls of one id by start, then by whatever else tells them apart."""
    order = ordered(ids)
    if not (ids[order][1:] == ids[order][:-1]).any():
        return order
    calls = events.calls
    names = ranks(events.names)[calls.name[named]]
    return ordered(ids, calls.start_ns[named], calls.end_ns[named], calls.thread[named], names)


def _matched(keys: Int, rows: Int, wanted: Int, valid: NDArray[np.bool_]) -> Small:
    """The first row of each wanted key."""
    found = np.full(len(wanted), NONE, np.int32)
    for first in range(0, len(wanted) if len(keys) else 0, WORK_AT_ONCE):
        some = slice(first, first + WORK_AT_ONCE)
        at = np.minimum(np.searchsorted(keys, wanted[some]), len(keys) - 1)
        hit = valid[some] & (keys[at] == wanted[some])
        found[some][hit] = rows[at[hit]]
    return found


def _of_several(ids: Int, owners: Int) -> Int:
    """Ids that more than one process has; both sorted by id."""
    pairs = np.unique(np.stack([ids, owners], 1), axis=0)[:, 0]
    return np.unique(pairs[1:][pairs[1:] == pairs[:-1]])


def _by_external_id(events: Events, linked: NDArray[np.bool_]) -> Small:
    """The operator of work whose call was not recorded, by the id that names it."""
    work, ranges = events.work, events.ranges
    candidates = np.flatnonzero(~linked & (work.external > 0))
    if not len(candidates) or uses_old_ids(events):
        return np.full(len(work), NONE, np.int32)
    rows = np.flatnonzero((ranges.kind == OPERATOR) & (ranges.external > 0))
    owners = events.thread_process()[ranges.thread[rows]]
    order = np.argsort(ranges.external[rows], kind="stable")
    ids, rows, owners = ranges.external[rows][order], rows[order], owners[order]
    several = _of_several(ids, owners) if len(ids) else ids
    return _matched(ids, rows, work.external, ~linked & (work.external > 0) & ~np.isin(work.external, several))


def uses_old_ids(events: Events) -> bool:
    """Whether `External id` of device work is its correlation id."""
    work = events.work
    both = (work.external > 0) & (work.correlation > 0)
    count = int(both.sum())
    return count > 0 and int((both & (work.external == work.correlation)).sum()) >= OLD_IDS_SHARE * count
