"""When and on which thread the nodes of CUDA graphs were made that kernels ran as."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from llm_perf_opt.analysis.timeline.intervals import Int
from llm_perf_opt.analysis.timeline.nesting import NONE
from llm_perf_opt.analysis.timeline.state import State
from llm_perf_opt.records.columns import ABSENT, KERNEL, Events

Key = tuple[int, int]
"""(process, id of a node)."""
Reason = tuple[str, str | None]

NOT_RECORDED = "the file does not say when its node was made: it was captured before the recording"
SEVERAL_ORIGINALS = "its node is said to be a copy of several"
ROUND = "its node is said to be a copy of itself"
MADE_TWICE = "its node is said to be made several times"
MADE_LATER = "its node is said to be made after it ran"
RENAMED = "its node ran different kernels"


@dataclass(frozen=True, slots=True)
class Places:
    """Of each piece of work where its node was made; `reasons` says why that is not known, else None."""

    thread: Int
    time: Int
    reasons: list[Reason | None]


@dataclass(frozen=True, slots=True)
class MadeNodes:
    """Nodes of all processes."""

    originals: dict[Key, set[int]]
    made: dict[Key, set[tuple[int, int]]]
    """(time, thread) of each that is no copy."""

    @classmethod
    def of(cls, events: Events) -> MadeNodes:
        nodes = events.nodes
        owner = events.thread_process()[nodes.thread]
        columns = (owner, nodes.node, nodes.original, nodes.made_ns, nodes.thread)
        originals: dict[Key, set[int]] = {}
        made: dict[Key, set[tuple[int, int]]] = {}
        for process, node, original, time, thread in zip(*(column.tolist() for column in columns), strict=True):
            if original > 0:
                originals.setdefault((process, node), set()).add(original)
            else:
                made.setdefault((process, node), set()).add((time, thread))
        return cls(originals, made)

    def root(self, key: Key) -> tuple[Key, Reason | None]:
        """The node that this one is a copy of, through copies of copies; and why that is not known, else None."""
        seen = {key}
        while (several := self.originals.get(key)) is not None:
            if len(several) > 1:
                return key, (SEVERAL_ORIGINALS, f"node {key[1]}")
            key = (key[0], next(iter(several)))
            if key in seen:
                return key, (ROUND, f"node {key[1]}")
            seen.add(key)
        if key not in self.made:
            return key, (NOT_RECORDED, None)
        return key, (MADE_TWICE, f"node {key[1]}") if len(self.made[key]) > 1 else None

    def places(self, state: State, rows: Int) -> Places:
        """Where the nodes of this work were made."""
        work = state.events.work
        processes, nodes = work.process[rows].tolist(), work.node[rows].tolist()
        keys = list(zip(processes, nodes, strict=True))
        roots = {key: self.root(key) for key in set(keys)}
        kernels: dict[Key, set[int]] = {}
        for key, kind, name in zip(keys, work.kind[rows].tolist(), work.name[rows].tolist(), strict=True):
            if kind == KERNEL:
                kernels.setdefault(roots[key][0], set()).add(name)
        thread, time = np.full(len(rows), NONE, np.int64), np.full(len(rows), ABSENT, np.int64)
        reasons: list[Reason | None] = []
        called = state.launches.start_ns(rows)
        launched = np.where(called == ABSENT, work.start_ns[rows], called)
        for at, (key, ran_ns) in enumerate(zip(keys, launched.tolist(), strict=True)):
            root, reason = roots[key]
            if reason is None and len(kernels.get(root, ())) > 1:
                reason = RENAMED, f"node {root[1]}"
            if reason is None:
                ((time[at], thread[at]),) = self.made[root]
                if ran_ns != ABSENT and time[at] > ran_ns:
                    reason = MADE_LATER, f"node {root[1]}"
            reasons.append(reason)
        return Places(thread, time, reasons)
