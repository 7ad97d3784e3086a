"""Modules of the model on the host's time line, and the kernel time of each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.analysis.kernel_names import short_name
from llm_perf_opt.analysis.timeline.intervals import Int
from llm_perf_opt.analysis.timeline.nesting import NONE, Nest, range_nest
from llm_perf_opt.analysis.timeline.steps import PROFILER_STEP, meaning
from llm_perf_opt.records.columns import PUSH_POP, PYTHON, START_END, Events, Small
from llm_perf_opt.records.device_timeline import ModuleTime
from llm_perf_opt.records.factor import factorized

MODULE_EVENT = "nn.Module: "
"""What torch.profiler calls the forward pass of a module, with the class and a number: `nn.Module: Linear_3`."""
OUR_MODULES = frozenset({"clip", "projector", "sam", "vision"})
"""Labels of submodules in profiles of llmperf's own."""
_NUMBER = re.compile(r"_\d+$|(?<=\.)\d+(?=\.|$)")


@dataclass
class Modules:
    """A tree of names, so that a module with all that it is in is one number. Parents come before their children."""

    names: list[str] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    _known: dict[tuple[int, str], int] = field(default_factory=dict)

    def node(self, name: str, parent: int = NONE) -> int:
        found = self._known.get((parent, name))
        if found is None:
            found = self._known[parent, name] = len(self.names)
            self.names.append(name)
            self.parents.append(parent)
        return found


@dataclass(frozen=True, slots=True)
class HostModules:
    """When the modules of one file ran on the host."""

    words: Sequence[str]
    """The name of each range among them."""
    parents: Int
    nest: Nest
    threads: Small
    """The first of those with the same process and id: frames of Python can be of another thread by number only."""

    def at(self, modules: Modules, thread: NDArray[np.integer], time: Int) -> Small:
        """The innermost module of each thread at each time, as a node of `modules`; -1 without one."""
        if not len(self.words):
            return np.full(len(time), NONE, np.int32)
        known = thread >= 0
        inner = self.nest.innermost(np.where(known, self.threads[np.where(known, thread, 0)], NONE), time)
        unique, inverse = factorized(inner)
        nodes = {NONE: NONE}
        for position in unique.tolist():
            chain, at = [], position
            while at not in nodes:
                chain.append(at)
                at = int(self.parents[at])
            node = nodes[at]
            for at in reversed(chain):
                node = nodes[at] = modules.node(self.words[at], node)
        return np.array([nodes[position] for position in unique.tolist()], np.int32)[inverse]


def host_modules(events: Events, labels: Collection[str] = OUR_MODULES, *, any_range: bool = False) -> HostModules:
    """The modules of a file: those of torch.profiler, and ranges called by one of the labels.

    Args:
        any_range: every range counts that is no phase, step or operator: where nothing else names modules.
    """
    ranges, names = events.ranges, events.names
    in_python = np.array([name.startswith(MODULE_EVENT) for name in names], np.bool_)
    labelled = np.array([_is_label(name) if any_range else name in labels for name in names], np.bool_)
    chosen = np.zeros(len(ranges), np.bool_)
    if len(ranges):
        plain = (ranges.kind != PYTHON) & (ranges.kind != START_END) & (ranges.domain == NONE)
        if any_range:
            plain &= ranges.kind == PUSH_POP
        chosen = ((ranges.kind == PYTHON) & in_python[ranges.name]) | (plain & labelled[ranges.name])
    rows = np.flatnonzero(chosen)
    threads = _same_threads(events)
    nest = range_nest(events, rows, threads[ranges.thread[rows]])
    words = [names[name].removeprefix(MODULE_EVENT) for name in ranges.name[rows].tolist()]
    return HostModules(words, nest.parents(), nest, threads)


def _is_label(name: str) -> bool:
    """Whether a range can be named after a module: not after a phase, a step or an operator."""
    said = meaning(name)
    return said.phase is None and said.group is None and "::" not in name and not name.startswith(PROFILER_STEP)


def _same_threads(events: Events) -> Small:
    first: dict[tuple[int, int | str], int] = {}
    keys = [(thread.process, thread.tid) for thread in events.threads]
    return np.array([first.setdefault(key, number) for number, key in enumerate(keys)], np.int32)


def kind_of(name: str) -> str:
    """What modules that differ by a number have in common: `Linear` of `Linear_3`, `layers.*.mlp` of `layers.3.mlp`."""
    return _NUMBER.sub(lambda found: "" if found[0].startswith("_") else "*", name)


@dataclass(frozen=True, slots=True)
class ModuleKernels:
    """Trusted kernels, each with the module that launched it."""

    module: Small
    """Node of the tree; -1 without one."""
    name: Small
    duration_ns: Int
    in_graph: NDArray[np.bool_]


def module_table(modules: Modules, kernels: ModuleKernels, names: Sequence[str], *, kinds: bool) -> list[ModuleTime]:
    """Kernel time of each module, by falling own time; with `kinds` of all modules of a kind together."""
    count = len(modules.names)
    if not count:
        return []
    own = np.zeros((4, count), np.int64)
    rows = np.flatnonzero(kernels.module != NONE)
    module, duration = kernels.module[rows], kernels.duration_ns[rows]
    np.add.at(own[0], module, 1)
    np.add.at(own[1], module, duration)
    np.add.at(own[2], module, np.where(kernels.in_graph[rows], duration, 0))
    labels = [kind_of(name) if kinds else name for name in modules.names]
    tables: dict[str, list[int]] = {}
    instances: dict[str, set[str]] = {}
    for node, (label, figures) in enumerate(zip(labels, own.T.tolist(), strict=True)):
        table = tables.setdefault(label, [0] * 5)
        table[0], table[1] = table[0] + figures[0], table[1] + figures[1]
        instances.setdefault(label, set()).add(modules.names[node])
    for label, figures in _within(modules.parents, labels, own[:3].T.tolist()):
        table = tables[label]
        table[2], table[3], table[4] = (table[2] + figures[0], table[3] + figures[1], table[4] + figures[2])
    longest = _longest(labels, kernels, rows, names)
    found = [
        ModuleTime(
            name=label,
            instances=len(instances[label]),
            kernels=table[2],
            kernel_ns=table[3],
            own_kernels=table[0],
            own_kernel_ns=table[1],
            graph_kernel_ns=table[4],
            longest_kernel=short_name(longest[label]) if label in longest else None,
        )
        for label, table in tables.items()
        if table[2]
    ]
    return sorted(found, key=lambda row: (-row.own_kernel_ns, -row.kernel_ns, row.name))


def _within(parents: Sequence[int], labels: Sequence[str], own: list[list[int]]) -> list[tuple[str, list[int]]]:
    """Of each node that is in no other of its label: the label, and the figures of it and all inside it."""
    children: list[list[int]] = [[] for _ in parents]
    whole = [list(figures) for figures in own]
    for node in range(len(parents) - 1, -1, -1):
        if parents[node] != NONE:
            children[parents[node]].append(node)
            whole[parents[node]] = [a + b for a, b in zip(whole[parents[node]], whole[node], strict=True)]
    around: Counter[str] = Counter()
    found = []
    stack = [(node, True) for node, parent in enumerate(parents) if parent == NONE]
    while stack:
        node, enters = stack.pop()
        if not enters:
            around[labels[node]] -= 1
            continue
        if not around[labels[node]]:
            found.append((labels[node], whole[node]))
        around[labels[node]] += 1
        stack.append((node, False))
        stack += [(child, True) for child in children[node]]
    return found


def _longest(labels: Sequence[str], kernels: ModuleKernels, rows: Int, names: Sequence[str]) -> dict[str, str]:
    """Of each label the name of the kernel with most time in it."""
    texts = list(dict.fromkeys(labels))
    position = {label: number for number, label in enumerate(texts)}
    label = np.array([position[text] for text in labels], np.int64)[kernels.module[rows]]
    several = int(kernels.name.max(initial=0)) + 1
    keys, group = factorized(label * several + kernels.name[rows])
    total = np.zeros(len(keys), np.int64)
    np.add.at(total, group, kernels.duration_ns[rows])
    found: dict[str, tuple[int, str]] = {}
    for key, ns in zip(keys.tolist(), total.tolist(), strict=True):
        text = texts[key // several]
        found[text] = min(found.get(text, (1, "")), (-ns, names[key % several]))
    return {text: name for text, (_, name) in found.items()}


def named(events: Events, rows: Int) -> Small:
    """The names of these ranges; -1 for -1."""
    if not len(events.ranges):
        return np.full(len(rows), NONE, np.int32)
    found: Small = np.where(rows == NONE, NONE, events.ranges.name[np.maximum(rows, 0)]).astype(np.int32)
    return found
