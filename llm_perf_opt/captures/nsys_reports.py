"""What a report of nsys holds: its time line, and the facts that a verdict needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.analysis.timeline.kernel_times import kernel_runs, kernel_times
from llm_perf_opt.analysis.timeline.steps import PhaseRule
from llm_perf_opt.analysis.timeline.tables import sums
from llm_perf_opt.captures.nsys_ranks import write_ranks
from llm_perf_opt.captures.timeline import Captured, analyse, write_timeline
from llm_perf_opt.formats.nsys_events import read_events
from llm_perf_opt.formats.nsys_export import open_export, warnings
from llm_perf_opt.records.columns import ABSENT, GRAPH, KERNEL, PUSH_POP, Events
from llm_perf_opt.records.factor import factorized
from llm_perf_opt.records.tools import KernelTime, NsysFacts, NsysProcess, NsysReport, NvtxRange

MOST_RANGES = 200


@dataclass(frozen=True)
class Read:
    """One report that could be read."""

    report: NsysReport
    captured: Captured


def kernels_of(reports: Sequence[Read]) -> list[KernelTime]:
    """The kernels of all reports by name, longest total time first."""
    states = [found.captured.state for found in reports]
    return kernel_times([kernel_runs(state.events, state.reason) for state in states])


def read_report(
    name: str,
    export: Path,
    rules: Sequence[PhaseRule] = (),
    gpu: str | None = None,
    *,
    rank: int | None = None,
    world_size: int | None = None,
) -> Read:
    """What one report holds, from its export; `rules` and `gpu` are those of `analyse`.

    Args:
        rank, world_size: of the launched program, where that was said before its environment was taken out.

    Raises:
        StageError: the export cannot be read.
    """
    events = read_events(export)
    if rank is not None:
        events.about.rank, events.about.world_size = rank, world_size
    captured = analyse(events, name, rules, gpu)
    return Read(NsysReport(name=name, facts=facts_of(events, export)), captured)


def facts_of(events: Events, export: Path) -> NsysFacts:
    """Enough to judge a capture."""
    with open_export(export) as connection:
        diagnostics = warnings(connection)
    work = events.work
    kernels = work.kind == KERNEL
    good = kernels & (work.start_ns != ABSENT) & (work.end_ns > work.start_ns)
    ranges = range_facts(events)
    return NsysFacts(
        exporter_version=events.about.tool_version,
        kernels=int(kernels.sum()),
        kernel_ns=int((work.end_ns[good] - work.start_ns[good]).sum()),
        runtime_calls=len(events.calls),
        graph_launches=int((work.kind == GRAPH).sum()),
        copies=int((work.kind > GRAPH).sum()),
        nvtx_events=sum(item.count for item in ranges),
        nvtx_ranges=tuple(ranges[:MOST_RANGES]),
        nvtx_ranges_left_out=max(0, len(ranges) - MOST_RANGES),
        processes=_processes(events, kernels),
        duration_ns=events.duration_ns,
        diagnostics=diagnostics,
    )


def range_facts(events: Events) -> list[NvtxRange]:
    """NVTX ranges by falling total time."""
    ranges, names = events.ranges, events.names
    kinds = ranges.kind.astype(np.int64) * 2 + ranges.registered
    keys, group = factorized(((ranges.domain.astype(np.int64) + 1) * len(names) + ranges.name) * 4 + kinds)
    ended = ranges.end_ns != ABSENT
    length = np.where(ended, ranges.end_ns - ranges.start_ns, 0)
    columns = (keys, sums(group, len(keys)), sums(group[~ended], len(keys)), sums(group, len(keys), length))
    found = [
        NvtxRange(
            name=names[key // 4 % len(names)],
            domain=names[key // 4 // len(names) - 1] if key // 4 >= len(names) else None,
            kind="push_pop" if key % 4 // 2 == PUSH_POP else "start_end",
            registered=bool(key % 2),
            count=count,
            unfinished=unfinished,
            total_ns=total,
        )
        for key, count, unfinished, total in zip(*(column.tolist() for column in columns), strict=True)
    ]
    return sorted(found, key=lambda row: (-row.total_ns, row.name, row.domain or "", row.kind, row.registered))


def _processes(events: Events, kernels: NDArray[np.bool_]) -> tuple[NsysProcess, ...]:
    """Those that launched kernels, most kernels first."""
    found = []
    for number, process in enumerate(events.processes):
        count = int((kernels & (events.work.process == number)).sum())
        if count:
            found.append(NsysProcess(pid=int(process.pid), name=process.name, kernels=count))
    return tuple(sorted(found, key=lambda row: (-row.kernels, row.pid)))


def write_timelines(directory: Path, reports: Sequence[Captured]) -> None:
    """Write the time line of each report; where they hold several ranks of a job, one of all of them too."""
    if write_ranks(directory, reports):
        return
    for number, captured in enumerate(reports, 1):
        write_timeline(captured, directory, number if len(reports) > 1 else None)
