"""Which kernels ran inside CUDA graphs, and where in the program each was captured.

A graph is captured once and replayed without the program, so the launch says nothing of a kernel in it. What says
where it was captured, surest first: what its node was annotated with; the node itself, where the file tells when and on
which thread nodes were made; its place in the order of a capture whose calls say what they launch. Whatever contradicts
makes a graph abstain as a whole: a kernel is never joined to the place of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.analysis.timeline.captures import GRAPH_LAUNCH, CaptureIndex, Replay
from llm_perf_opt.analysis.timeline.intervals import Int
from llm_perf_opt.analysis.timeline.launches import Launches
from llm_perf_opt.analysis.timeline.made_nodes import NOT_RECORDED, MadeNodes
from llm_perf_opt.analysis.timeline.modules import HostModules, Modules, named
from llm_perf_opt.analysis.timeline.nesting import NONE
from llm_perf_opt.analysis.timeline.state import State
from llm_perf_opt.records.columns import GRAPH, KERNEL, Events, Small
from llm_perf_opt.records.device_timeline import Abstention, CapturedTime, GraphCounts
from llm_perf_opt.records.factor import factorized

MOST_ABSTENTIONS = 20
MOST_CAPTURED_IN = 100
TORCH = "torch.profiler"
NO_CAPTURE = "its capture is not in the files: import the trace of the capture with it, or record both in one"
NOT_ANNOTATED_AT_ALL = (
    "calls of CUDA do not say in a capture which kernel they launch; torch.cuda.graph_annotations makes a trace say it"
)
NOT_ANNOTATED = "its node was not annotated, as others were"


@dataclass(slots=True)
class Origins:
    """Where each piece of device work in a graph was captured; -1 where that is not known."""

    in_graph: NDArray[np.bool_]
    """Whether it is a kernel, copy or set in a graph that was not traced whole."""
    joined: NDArray[np.bool_]
    captured_in: Small
    """The innermost operator or range, by position in `words`."""
    module: Small
    words: list[str] = field(default_factory=list)
    why: dict[int, tuple[str, str | None]] = field(default_factory=dict)
    """Row → why it was joined to nothing, and what contradicts."""
    _positions: dict[str, int] = field(default_factory=dict)

    def abstain(self, rows: Int, reason: str, where: str | None = None) -> None:
        for row in rows.tolist():
            self.why[row] = (reason, where)

    def word(self, text: str) -> int:
        if text not in self._positions:
            self._positions[text] = len(self.words)
            self.words.append(text)
        return self._positions[text]


def in_graphs(events: Events, launches: Launches) -> NDArray[np.bool_]:
    """Which work the file says to be in a graph: by the ids of graph and node, or by the call that launched it."""
    work = events.work
    found = (work.graph > 0) | (work.node > 0)
    launching = np.array([GRAPH_LAUNCH.match(name) is not None for name in events.names], np.bool_)
    if launching.any() and len(events.calls):
        found |= (launches.call != NONE) & launching[events.calls.name[np.maximum(launches.call, 0)]]
    inside: NDArray[np.bool_] = found & (work.kind != GRAPH)
    return inside


def find_origins(
    state: State, modules: Modules, host: HostModules, captures: Sequence[CaptureIndex], inside: NDArray[np.bool_]
) -> Origins:
    """Join what ran in graphs to where it was captured.

    Args:
        modules: the tree that found modules are added to.
        host: the modules of this file.
        captures: what was captured in it, and in the file of the capture.
        inside: as `in_graphs` gives it.
    """
    work = state.events.work
    none = np.full(len(work), NONE, np.int32)
    origins = Origins(inside, np.zeros(len(work), np.bool_), none, none.copy())
    _by_annotation(state, origins, modules)
    _by_node(state, origins, modules, host)
    _by_order(state, origins, modules, captures)
    return origins


def _by_annotation(state: State, origins: Origins, modules: Modules) -> None:
    work, names = state.events.work, state.events.names
    rows = np.flatnonzero(origins.in_graph & (work.annotation != NONE))
    if not len(rows):
        return
    unique, inverse = factorized(work.annotation[rows])
    origins.module[rows] = np.array([modules.node(names[name]) for name in unique.tolist()], np.int32)[inverse]
    origins.captured_in[rows] = np.array([origins.word(names[name]) for name in unique.tolist()], np.int32)[inverse]
    origins.joined[rows] = True
    rest = np.flatnonzero(origins.in_graph & ~origins.joined & (work.node > 0))
    origins.abstain(rest, NOT_ANNOTATED)


def _by_node(state: State, origins: Origins, modules: Modules, host: HostModules) -> None:
    events, work = state.events, state.events.work
    rows = np.flatnonzero(origins.in_graph & ~origins.joined & (work.node > 0))
    if not len(rows) or not len(events.nodes):
        return
    made = MadeNodes.of(events).places(state, rows)
    for reason in dict.fromkeys(made.reasons):
        if reason is not None:
            chosen = np.array([found == reason for found in made.reasons])
            origins.abstain(rows[chosen], *reason)
    sound = np.array([reason is None for reason in made.reasons], np.bool_)
    rows, thread, time = rows[sound], made.thread[sound], made.time[sound]
    inner = state.nest.innermost(thread, time) if len(state.nested) else np.full(len(rows), NONE, np.int64)
    owner = np.where(inner == NONE, NONE, state.nested[np.maximum(inner, 0)] if len(state.nested) else NONE)
    module = host.at(modules, thread, time)
    outside = (owner == NONE) & (module == NONE)
    origins.abstain(rows[outside], "no range and no module was open when it was captured")
    rows, owner, module = rows[~outside], owner[~outside], module[~outside]
    origins.joined[rows] = True
    origins.module[rows] = module
    origins.captured_in[rows] = _as_words(origins, events, owner)


def _as_words(origins: Origins, events: Events, owner: Int) -> Small:
    unique, inverse = factorized(named(events, owner))
    found = [NONE if name == NONE else origins.word(events.names[name]) for name in unique.tolist()]
    return np.array(found, np.int32)[inverse] if found else np.empty(0, np.int32)


def _by_order(state: State, origins: Origins, modules: Modules, captures: Sequence[CaptureIndex]) -> None:
    """By the order and the names of the kernels of each launch of a graph."""
    work, names = state.events.work, state.events.names
    rows = np.flatnonzero(origins.in_graph & ~origins.joined & (work.kind == KERNEL))
    rows = rows[np.array([row not in origins.why for row in rows.tolist()], np.bool_)] if origins.why else rows
    if not len(rows):
        return
    captures = [capture for capture in captures if capture.segments]
    if not captures:
        node = work.node[rows] > 0
        by_node = NOT_ANNOTATED_AT_ALL if state.events.about.tool == TORCH else NOT_RECORDED
        origins.abstain(rows[node], by_node)
        origins.abstain(rows[~node], NO_CAPTURE)
        return
    known: dict[object, tuple[Sequence[tuple[int, int]] | None, str, str | None]] = {}
    for replay in _replays(state, rows):
        if replay.doubtful:
            origins.abstain(replay.rows, "the order of its kernels is not known: times of some cannot be")
            continue
        signature = replay.signature()
        if signature not in known:
            known[signature] = _places(origins, modules, captures, replay, names)
        places, reason, where = known[signature]
        if places is None:
            origins.abstain(replay.rows, reason, f"{replay.words}, {where}" if where else None)
            continue
        found = np.array(places, np.int32).reshape(-1, 2)
        origins.captured_in[replay.rows], origins.module[replay.rows] = found[:, 0], found[:, 1]
        origins.joined[replay.rows] = True


def _places(
    origins: Origins, modules: Modules, captures: Sequence[CaptureIndex], replay: Replay, names: Sequence[str]
) -> tuple[Sequence[tuple[int, int]] | None, str, str | None]:
    """Of each kernel of a replay (word of what it was captured in, module); or why there is none, and where."""
    kernels = [names[name] for name in replay.names]
    fitting: set[tuple[tuple[int, int], ...]] = set()
    nearest: tuple[int, str] = (-1, "")
    for capture in captures:
        for segment in capture.segments:
            order, agreed, where = segment.matched(kernels, replay.streams)
            if order is None:
                nearest = max(nearest, (agreed, where), key=lambda found: found[0])
                continue
            words, nodes = capture.places(segment, modules)
            fitting.add(tuple((origins.word(words[at]) if words[at] else NONE, nodes[at]) for at in order))
    if len(fitting) == 1:
        return fitting.pop(), "", None
    if fitting:
        return None, "several captures fit it that were made in different places", None
    return None, "what it ran is not what was captured", nearest[1]


def _replays(state: State, rows: Int) -> list[Replay]:
    """The kernels of each launch of a graph, by stream and time."""
    work = state.events.work
    keys = (work.end_ns[rows], work.start_ns[rows], work.stream[rows], work.device[rows])
    order = np.lexsort((*keys, work.correlation[rows], work.process[rows]))
    rows = rows[order]
    same = (np.diff(work.correlation[rows]) == 0) & (np.diff(work.process[rows]) == 0)
    found = []
    for number, part in enumerate(np.split(rows, np.flatnonzero(~same) + 1), 1):
        where = np.stack([work.device[part].astype(np.int64), work.stream[part]], 1)
        streams = np.unique(where, axis=0, return_inverse=True)[1].reshape(-1)
        words = f"launch {number} of a graph (correlation id {int(work.correlation[part[0]])})"
        doubtful = not bool(state.trusted[part].all())
        found.append(Replay(part, work.name[part].tolist(), streams.tolist(), words, doubtful))
    return found


def graph_counts(state: State, origins: Origins) -> GraphCounts:
    work = state.events.work
    kernels = origins.in_graph & (work.kind == KERNEL)
    groups: dict[str, list[int]] = {}
    wheres: dict[str, str | None] = {}
    rest = np.flatnonzero(kernels & ~origins.joined)
    trusted, durations = state.trusted[rest], work.end_ns[rest] - np.where(state.trusted[rest], work.start_ns[rest], 0)
    for row, sound, ns in zip(rest.tolist(), trusted.tolist(), durations.tolist(), strict=True):
        reason, where = origins.why.get(row, (NO_CAPTURE, None))
        group = groups.setdefault(reason, [0, 0])
        group[0], group[1] = group[0] + 1, group[1] + (ns if sound else 0)
        if wheres.get(reason) is None:
            wheres[reason] = where
    found = [
        Abstention(reason=reason, where=wheres[reason], kernels=count, total_ns=ns)
        for reason, (count, ns) in groups.items()
    ]
    return GraphCounts(
        whole=int((work.kind == GRAPH).sum()),
        kernels=int(kernels.sum()),
        joined=int((kernels & origins.joined).sum()),
        abstained=len(rest),
        abstentions=tuple(sorted(found, key=lambda row: (-row.kernels, row.reason))[:MOST_ABSTENTIONS]),
        captured_in=tuple(_captured_in(state, origins)[:MOST_CAPTURED_IN]),
    )


def _captured_in(state: State, origins: Origins) -> list[CapturedTime]:
    """Trusted kernels by what they were captured in, longest first."""
    work = state.events.work
    rows = np.flatnonzero(state.trusted & (work.kind == KERNEL) & (origins.captured_in != NONE))
    word = origins.captured_in[rows]
    total = np.zeros(len(origins.words), np.int64)
    np.add.at(total, word, work.end_ns[rows] - work.start_ns[rows])
    count = np.bincount(word, minlength=len(origins.words))
    found = [
        CapturedTime(name=name, kernels=kernels, total_ns=ns)
        for name, kernels, ns in zip(origins.words, count.tolist(), total.tolist(), strict=True)
        if kernels
    ]
    return sorted(found, key=lambda row: (-row.total_ns, row.name))
