"""Ranks in reports of nsys: the processes of one report, or those of several nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llm_perf_opt.analysis.timeline.collectives import collectives_of
from llm_perf_opt.analysis.timeline.joined import joined
from llm_perf_opt.analysis.timeline.ranks import Member, compare
from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.artifacts.layout import rank_dir, timeline_file
from llm_perf_opt.captures.rank_names import ranks_in_names
from llm_perf_opt.captures.timeline import Captured, write_timeline
from llm_perf_opt.records.columns import KERNEL, NONE

NUMBERED = "Neither the reports nor their names say which rank is which: ranks are numbered by report and GPU."


@dataclass(frozen=True)
class _Process:
    """A process that is a rank."""

    report: int
    process: int
    device: int
    """The first that it used."""


def write_ranks(directory: Path, reports: Sequence[Captured]) -> bool:
    """Write the time line of several ranks, and with several reports that of each in a folder of its first rank.

    Returns:
        Whether there are several: else nothing is written.
    """
    processes = _processes(reports)
    if len(processes) < 2 or _same_process_twice(reports):
        return False
    ranks, told = _numbers(reports, processes)
    members = [
        Member(
            rank,
            reports[one.report].record.source,
            one.report,
            collectives_of(reports[one.report].state, one.process),
        )
        for rank, one in zip(ranks, processes, strict=True)
    ]
    sizes = {captured.record.facts.world_size for captured in reports}
    skews, comparison = compare(members, sizes.pop() if told and len(sizes) == 1 else None)
    if not told:
        comparison = comparison.model_copy(update={"notes": (*comparison.notes, NUMBERED)})
    rank_of = {(one.report, one.process): rank for rank, one in zip(ranks, processes, strict=True)}
    ranks_of = [_of_devices(captured, number, rank_of) for number, captured in enumerate(reports)]
    if len(reports) == 1:
        write_timeline(reports[0], directory)
    else:
        for number, captured in enumerate(reports):
            mine = [rank for rank, one in zip(ranks, processes, strict=True) if one.report == number]
            folder = rank_dir(directory, min(mine)) if mine else directory / f"report-{number + 1}"
            write_timeline(captured, folder)
    record = joined([captured.record for captured in reports], ranks_of, skews, comparison)
    write_text(directory / timeline_file(), record.model_dump_json(indent=2) + "\n")
    return True


def _processes(reports: Sequence[Captured]) -> list[_Process]:
    """Processes that communicate, and of a report without any the one that runs kernels, if it is one."""
    found = []
    for number, captured in enumerate(reports):
        state = captured.state
        work = state.events.work
        kernels = state.trusted & (work.kind == KERNEL) & (work.process != NONE)
        chosen = np.unique(work.process[kernels & state.communicates])
        if not len(chosen) and len(reports) > 1:
            chosen = np.unique(work.process[kernels])[:2]
            chosen = chosen if len(chosen) == 1 else chosen[:0]
        for process in chosen.tolist():
            device = int(work.device[kernels & (work.process == process)].min())
            found.append(_Process(number, process, device))
    if sum(bool(captured.state.communicates.any()) for captured in reports) == 0:
        return []
    return sorted(found, key=lambda one: (one.report, one.device, one.process))


def _same_process_twice(reports: Sequence[Captured]) -> bool:
    """Whether two reports are of one process: captures one after the other, not of different ranks."""
    seen = Counter(
        (captured.state.events.about.host, process.pid)
        for captured in reports
        for process in captured.state.events.processes
    )
    return any(count > 1 for count in seen.values())


def _numbers(reports: Sequence[Captured], processes: Sequence[_Process]) -> tuple[list[int], bool]:
    """The rank of each process, and whether reports or names say it."""
    if len(processes) == len({one.report for one in processes}):
        facts = [reports[one.report].record.facts for one in processes]
        said = [one.rank for one in facts if one.rank is not None]
        if len(said) == len(set(said)) == len(processes) and len({one.world_size for one in facts}) == 1:
            return said, True
        named = ranks_in_names([reports[one.report].record.source for one in processes])
        if named is not None and len(set(named)) == len(named):
            return named, True
    return list(range(len(processes))), False


def _of_devices(captured: Captured, report: int, rank_of: dict[tuple[int, int], int]) -> list[int | None]:
    """The rank of each device in the record: None where several processes use it, or none that is a rank."""
    work, trusted = captured.state.events.work, captured.state.trusted
    found: list[int | None] = []
    devices = np.unique(work.device[trusted & (work.device != NONE)]).tolist()
    for device in devices:
        users = {
            rank_of.get((report, process)) for process in np.unique(work.process[trusted & (work.device == device)])
        }
        found.append(users.pop() if len(users) == 1 else None)
    return found
