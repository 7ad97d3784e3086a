"""Ranks in reports of nsys: the processes of one report, or those of several nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from llm_perf_opt.analysis.timeline.joined import joined
from llm_perf_opt.analysis.timeline.ranks import Member, compare
from llm_perf_opt.captures.nsys_left import Left
from llm_perf_opt.captures.rank_names import ranks_in_names
from llm_perf_opt.records.device_timeline import DeviceTimeline

NUMBERED = "Neither the reports nor their names say which rank is which: ranks are numbered by report and GPU."


@dataclass(frozen=True)
class _Process:
    """A process that is a rank."""

    report: int
    process: int
    device: int
    """The first that it used."""


@dataclass(frozen=True)
class Ranks:
    """Reports that hold several ranks."""

    line: DeviceTimeline
    """All of them as one."""
    firsts: list[int | None]
    """The first rank in each report; None where there is none."""


def ranks_of(reports: Sequence[Left]) -> Ranks | None:
    """The ranks in reports; None where they hold no several ones."""
    processes = _processes(reports)
    if len(processes) < 2 or _same_process_twice(reports):
        return None
    ranks, told = _numbers(reports, processes)
    members = [
        Member(rank, reports[one.report].line.source, one.report, reports[one.report].collectives[one.process])
        for rank, one in zip(ranks, processes, strict=True)
    ]
    sizes = {left.line.facts.world_size for left in reports}
    skews, comparison = compare(members, sizes.pop() if told and len(sizes) == 1 else None)
    if not told:
        comparison = comparison.model_copy(update={"notes": (*comparison.notes, NUMBERED)})
    rank_of = {(one.report, one.process): rank for rank, one in zip(ranks, processes, strict=True)}
    of_devices = [_of_devices(left, number, rank_of) for number, left in enumerate(reports)]
    line = joined([left.line for left in reports], of_devices, skews, comparison)
    mine = [
        [rank for rank, one in zip(ranks, processes, strict=True) if one.report == number]
        for number in range(len(reports))
    ]
    return Ranks(line, [min(own, default=None) for own in mine])


def _processes(reports: Sequence[Left]) -> list[_Process]:
    """Processes that communicate, and of a report without any the one that runs kernels, if it is one."""
    if not any(one.communicates for left in reports for one in left.facts.ranks):
        return []
    found = [
        _Process(number, one.process, one.device) for number, left in enumerate(reports) for one in left.facts.ranks
    ]
    return sorted(found, key=lambda one: (one.report, one.device, one.process))


def _same_process_twice(reports: Sequence[Left]) -> bool:
    """Whether two reports are of one process: captures one after the other, not of different ranks."""
    seen = Counter((left.facts.host, pid) for left in reports for pid in left.facts.pids)
    return any(count > 1 for count in seen.values())


def _numbers(reports: Sequence[Left], processes: Sequence[_Process]) -> tuple[list[int], bool]:
    """The rank of each process, and whether reports or names say it."""
    if len(processes) == len({one.report for one in processes}):
        facts = [reports[one.report].line.facts for one in processes]
        said = [one.rank for one in facts if one.rank is not None]
        if len(said) == len(set(said)) == len(processes) and len({one.world_size for one in facts}) == 1:
            return said, True
        named = ranks_in_names([reports[one.report].line.source for one in processes])
        if named is not None and len(set(named)) == len(named):
            return named, True
    return list(range(len(processes))), False


def _of_devices(left: Left, report: int, rank_of: dict[tuple[int, int], int]) -> list[int | None]:
    """The rank of each device in the record: None where several processes use it, or none that is a rank."""
    found: list[int | None] = []
    for processes in left.facts.users:
        users = {rank_of.get((report, process)) for process in processes}
        found.append(users.pop() if len(users) == 1 else None)
    return found
