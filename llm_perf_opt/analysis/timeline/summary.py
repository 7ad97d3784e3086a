"""The record of one capture: everything that its reports and `--json` say about the time of its devices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from llm_perf_opt.analysis.timeline import devices as device_tables
from llm_perf_opt.analysis.timeline.answer import answer
from llm_perf_opt.analysis.timeline.counters import counter_means
from llm_perf_opt.analysis.timeline.graphs import graph_counts
from llm_perf_opt.analysis.timeline.modules import ModuleKernels, module_table
from llm_perf_opt.analysis.timeline.phases import Phases, find_phases
from llm_perf_opt.analysis.timeline.places import Places, find_places
from llm_perf_opt.analysis.timeline.state import State, analysed
from llm_perf_opt.analysis.timeline.steps import PhaseRule
from llm_perf_opt.analysis.timeline.tables import Tables, copy_table, is_kernel, tables_of, unattributed
from llm_perf_opt.analysis.timeline.trust import REASONS
from llm_perf_opt.errors import StageError
from llm_perf_opt.records.columns import ABSENT, NONE, Events
from llm_perf_opt.records.device_timeline import (
    DeviceTimeline,
    Distrusted,
    FileFacts,
    FileNote,
)

MOST_KERNELS = 1000
MOST_OPERATORS = 1000
MOST_RANGES = 100
MOST_MODULES = 1000


def summary(events: Events, rules: Sequence[PhaseRule] = (), source: str = "") -> DeviceTimeline:
    """Analyse one file.

    Args:
        rules: ranges of whatever name that are phases, before those that are recognised.
        source: what the file is called.

    Raises:
        StageError: its times lie too far apart.
    """
    state = analysed_file(events)
    phases = find_phases(state, rules)
    return record_of(state, phases, tables_of(state, phases), find_places(state), source)


def analysed_file(events: Events) -> State:
    """The state of a file that may hold anything.

    Raises:
        StageError: its times lie too far apart.
    """
    try:
        return analysed(events)
    except OverflowError as error:
        raise StageError(str(error), "record a shorter time, or fewer processes at once") from error


def record_of(state: State, phases: Phases, tables: Tables, places: Places, source: str) -> DeviceTimeline:
    events = state.events
    launched = _module_kernels(state, places)
    modules = module_table(places.modules, launched, events.names, kinds=False)
    module_kinds = module_table(places.modules, launched, events.names, kinds=True)
    outside_modules_ns = int(launched.duration_ns.sum(where=launched.module == NONE))
    del launched  # columns of all kernels
    attributed, rest = unattributed(state)
    devices = device_tables.device_times(state)
    host = device_tables.HostNames(state)
    waited, gaps = device_tables.waited_for(state, host), device_tables.longest_gaps(state, host)
    del host  # columns of all calls
    kernels, operators, ranges = tables.kernels, tables.operators, tables.ranges
    return DeviceTimeline(
        source=source,
        answer=answer(devices, waited),
        facts=_facts(events),
        devices=tuple(devices),
        phases=tuple(device_tables.phase_times(state, phases)),
        phase_host_ns=device_tables.phase_host_ns(state, phases),
        steps=tuple(device_tables.step_groups(state, phases)),
        counters=tuple(counter_means(state, phases)),
        gaps=tuple(gaps),
        waited_for=tuple(waited),
        categories=tuple(device_tables.category_times(state)),
        copies=tuple(copy_table(state)),
        kernels=tuple(kernels[:MOST_KERNELS]),
        kernels_left_out=max(0, len(kernels) - MOST_KERNELS),
        operators=tuple(operators[:MOST_OPERATORS]),
        operators_left_out=max(0, len(operators) - MOST_OPERATORS),
        ranges=tuple(ranges[:MOST_RANGES]),
        ranges_left_out=max(0, len(ranges) - MOST_RANGES),
        modules=tuple(modules[:MOST_MODULES]),
        modules_left_out=max(0, len(modules) - MOST_MODULES),
        module_kinds=tuple(module_kinds),
        outside_modules_ns=outside_modules_ns,
        attributed_device_ns=attributed,
        unattributed=tuple(rest),
        distrusted=tuple(_distrusted(state)),
        graphs=graph_counts(state, places.origins),
        notes=tuple(_notes(state)),
    )


def _module_kernels(state: State, places: Places) -> ModuleKernels:
    work = state.events.work
    rows = np.flatnonzero(is_kernel(state))
    durations = work.end_ns[rows] - work.start_ns[rows]
    return ModuleKernels(places.module[rows], work.name[rows], durations, places.origins.in_graph[rows])


def _facts(events: Events) -> FileFacts:
    about = events.about
    return FileFacts(
        tool=about.tool,
        tool_version=about.tool_version,
        driver=about.driver,
        cuda=about.cuda,
        command=about.command,
        rank=about.rank,
        world_size=about.world_size,
    )


def _distrusted(state: State) -> list[Distrusted]:
    work = state.events.work
    there = (work.start_ns != ABSENT) & (work.end_ns != ABSENT)
    duration = np.where(there, work.end_ns - np.where(there, work.start_ns, 0), 0)
    return [
        Distrusted(
            reason=words,
            count=int((state.reason == number).sum()),
            total_ns=int(np.maximum(duration[state.reason == number], 0).sum()),
        )
        for number, words in enumerate(REASONS)
        if number and (state.reason == number).any()
    ]


def _notes(state: State) -> list[FileNote]:
    notes = [FileNote(text=note.text, count=note.count) for note in state.events.notes]
    if state.launches.ambiguous:
        words = "pieces of device work whose id calls of several processes have: none of them is taken for its launch"
        notes.append(FileNote(text=words, count=state.launches.ambiguous))
    if len(state.events.devices) > 1 and any(device.gpu is None for device in state.events.devices):
        words = "the file does not say which physical GPUs these are: they are told apart by process and number"
        notes.append(FileNote(text=words, count=len(state.events.devices)))
    return notes
