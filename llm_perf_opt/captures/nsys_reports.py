"""What a report of nsys holds: its time line, and the facts that a verdict needs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.analysis.timeline.kernel_times import kernel_times
from llm_perf_opt.analysis.timeline.steps import PhaseRule
from llm_perf_opt.analysis.timeline.tables import sums
from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.artifacts.layout import DRILL_DOWN, TIMELINE, TIMELINE_TABLE, timeline_file
from llm_perf_opt.captures.nsys_left import Left, leave, left_of, name_after_ranks, name_alone, place_of
from llm_perf_opt.captures.nsys_ranks import ranks_of
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

    def leave(self, directory: Path, number: int | None) -> Left:
        """Write its time line into the directory of a stage; of the `number`-th of several into one of its own."""
        if number is not None:
            return leave(self.captured, self.report, directory, number)
        write_timeline(self.captured, directory)
        return left_of(self.captured, self.report)


def kernels_of(reports: Sequence[Left]) -> list[KernelTime]:
    """The kernels of all reports by name, longest total time first."""
    return kernel_times([left.kernels for left in reports])


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


def write_timelines(directory: Path, reports: Sequence[Left], *, keep: bool = False) -> None:
    """Write the time line of all ranks in reports, and give those of the reports their names.

    Args:
        reports: all of a stage; one alone has its time line in `directory`, each of several where `leave` put it.
        keep: what they left is wanted again, to be joined with reports that could not be read yet.
    """
    ranks = ranks_of(reports)
    places = [place_of(directory, left.facts.number) for left in reports]
    several = [own for own in places if own is not None]
    for old in [file for kind in (TIMELINE, TIMELINE_TABLE, DRILL_DOWN) for file in directory.glob(kind) if several]:
        old.unlink()
    if ranks is not None:
        if several:
            name_after_ranks(directory, [left.facts.number for left in reports], ranks.firsts)
        write_text(directory / timeline_file(), ranks.line.model_dump_json(indent=2) + "\n")
        return
    for number, own in enumerate(several, 1):
        name_alone(own, directory, number if len(several) > 1 else None)
        if not keep:
            shutil.rmtree(own)
