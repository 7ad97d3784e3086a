"""What of the program each piece of device work belongs to: the operator and the module that launched it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from llm_perf_opt.analysis.timeline.captures import CaptureIndex
from llm_perf_opt.analysis.timeline.graphs import Origins, find_origins, in_graphs
from llm_perf_opt.analysis.timeline.launches import launch_places
from llm_perf_opt.analysis.timeline.modules import OUR_MODULES, Modules, host_modules, named
from llm_perf_opt.analysis.timeline.nesting import NONE
from llm_perf_opt.analysis.timeline.state import State
from llm_perf_opt.records.columns import OPERATOR, Events, Small, constant
from llm_perf_opt.records.factor import factorized


@dataclass(frozen=True, slots=True)
class Places:
    """One element for each piece of device work; -1 where the file does not say."""

    operator: Small
    """The innermost operator around the launch, as a name of the file."""
    modules: Modules
    module: Small
    """The innermost module around the launch, and of work in a graph around its capture, as a node of `modules`."""
    origins: Origins


def find_places(state: State, capture: Events | None = None, labels: Collection[str] = OUR_MODULES) -> Places:
    """The operator and the module of each piece of device work.

    Args:
        capture: a recording of the capture of the graphs that the file replays.
        labels: ranges of these names are modules, beside those of torch.profiler.
    """
    events = state.events
    inside = in_graphs(events, state.launches)
    # Where graphs were captured in ranges, ranges are all that names modules.
    host = host_modules(events, labels, any_range=bool(inside.any()) and len(events.nodes) > 0)
    modules = Modules()
    thread, start = launch_places(events, state.launches)
    module = host.at(modules, thread, start)
    captures = []
    if inside.any():
        captures = [CaptureIndex.of(events, host)]
        captures += [] if capture is None else [CaptureIndex.of(capture)]
    origins = find_origins(state, modules, host, captures, inside)
    module = np.where(inside, origins.module, module).astype(np.int32)
    return Places(operators_of(state), modules, module, origins)


def operators_of(state: State) -> Small:
    """The name of the innermost operator around each launch."""
    ranges, owner = state.events.ranges, state.launches.owner
    if not len(owner) or not (ranges.kind == OPERATOR).any():
        return constant(NONE, len(owner), np.int32)
    unique, inverse = factorized(owner)
    known = unique[unique != NONE]
    if (ranges.kind[known] != OPERATOR).any():
        unique = np.array(_operators(state, unique.tolist()), np.int64)
    return named(state.events, unique)[inverse]


def _operators(state: State, rows: list[int]) -> list[int]:
    """Of each range the operator that it is, or that is innermost around it."""
    kind, parents = state.events.ranges.kind, state.nest.parents()
    known: dict[int, int] = {NONE: NONE}
    for row in rows:
        chain, at = [], row
        while at not in known and kind[at] != OPERATOR:
            chain.append(at)
            parent = parents[np.searchsorted(state.nested, at)]
            at = NONE if parent == NONE else int(state.nested[parent])
        found = known.get(at, at)
        known.update(dict.fromkeys(chain, found))
        known[at] = found
    return [known[row] for row in rows]
