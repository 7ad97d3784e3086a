"""When the phases and the steps of the host were, and which phase a time of a thread is in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.analysis.timeline.intervals import Cover, Int
from llm_perf_opt.analysis.timeline.nesting import NONE, Nest
from llm_perf_opt.analysis.timeline.state import State
from llm_perf_opt.analysis.timeline.steps import OUTSIDE, Meaning, PhaseRule, meaning
from llm_perf_opt.records.columns import PYTHON
from llm_perf_opt.records.factor import distinct


@dataclass(frozen=True, slots=True)
class Phases:
    """The phases of one file. They have numbers; the last one is `outside`."""

    names: list[str]
    rows: Int
    """The ranges that are phases."""
    numbers: Int
    """The phase of each of them."""
    nest: Nest
    groups: dict[str, tuple[str | None, Int]]
    """Kind of step → phase, its ranges."""

    def of(self, thread: NDArray[np.integer], time: Int) -> Int:
        """The innermost phase of each thread at each time."""
        outside = len(self.names) - 1
        if not len(self.rows):
            return np.full(len(time), outside, np.int64)
        inner = self.nest.innermost(thread, time)
        return np.where(inner == NONE, outside, self.numbers[np.maximum(inner, 0)])


def find_phases(state: State, rules: Sequence[PhaseRule] = ()) -> Phases:
    """Phases and steps by the names of ranges of the default domain; `rules` go for those of any."""
    ranges = state.events.ranges
    # Old versions of torch record labels as operators.
    candidates = ranges.kind != PYTHON
    found: dict[int, Meaning] = {}
    names = state.events.names
    for name in distinct(ranges.name[candidates]).tolist():
        said = meaning(names[name], rules)
        if said.phase is not None or said.group is not None:
            found[name] = said
    phase_names = sorted({said.phase for said in found.values() if said.phase is not None})
    number_of = np.full(len(names) + 1, NONE, np.int64)
    for name, said in found.items():
        number_of[name] = phase_names.index(said.phase) if said.phase is not None else NONE
    ruled = np.zeros(len(names) + 1, np.bool_)
    ruled[[name for name in found if any(pattern.search(names[name]) for _, pattern in rules)]] = True
    usable = candidates & ((ranges.domain == NONE) | ruled[ranges.name])
    rows = np.flatnonzero(usable & (number_of[ranges.name] != NONE))
    groups: dict[str, tuple[str | None, Int]] = {}
    for name, said in sorted(found.items(), key=lambda item: names[item[0]]):
        if said.group is not None:
            mine = np.flatnonzero(usable & (ranges.name == name))
            phase, before = groups.get(said.group, (said.phase, np.empty(0, np.int64)))
            groups[said.group] = (phase, np.append(before, mine))
    return Phases(
        names=[*phase_names, OUTSIDE],
        rows=rows,
        numbers=number_of[ranges.name[rows]],
        # Phases are numbered by name: of two that start and end together the order of rows does not decide.
        nest=Nest(ranges.thread[rows], ranges.start_ns[rows], ranges.end_ns[rows], number_of[ranges.name[rows]]),
        groups={name: group for name, group in groups.items() if len(group[1])},
    )


def windows(state: State, rows: Int) -> tuple[Int, Int, Int]:
    """(process, start, end) of what these ranges cover in each process."""
    ranges = state.events.ranges
    owners = state.events.thread_process()[ranges.thread[rows]].astype(np.int64)
    packing = state.time.packing
    cover = Cover.of(packing, owners, ranges.start_ns[rows], ranges.end_ns[rows])
    starts, ends = cover.starts % packing.span, cover.ends % packing.span
    return cover.starts // packing.span, starts + packing.first, ends + packing.first


def processes_of_devices(state: State) -> list[frozenset[int]]:
    """Of each device the processes that work of it belongs to; all where the file does not say."""
    work = state.events.work
    everyone = frozenset(range(len(state.events.processes)))
    pairs = distinct(work.device.astype(np.int64) * (len(everyone) + 1) + work.process + 1)
    found: list[set[int]] = [set() for _ in state.events.devices]
    for pair in pairs.tolist():
        found[pair // (len(everyone) + 1)].add(pair % (len(everyone) + 1) - 1)
    return [everyone if NONE in owners else frozenset(owners) for owners in found]
