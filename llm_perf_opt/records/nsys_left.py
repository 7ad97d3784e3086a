"""What one of several reports of nsys leaves, to be joined with the others."""

from __future__ import annotations

from typing import Literal

from llm_perf_opt.records.base import Record
from llm_perf_opt.records.tools import NsysReport


class RankProcess(Record):
    """A process that can be a rank."""

    process: int
    """Its place among the processes of the report."""
    device: int
    """The first that it used."""
    communicates: bool
    """False: no process of the report does, and it alone runs kernels."""


class ReportLeft(Record):
    """`nsys/rank-N/report.facts.json`: one report, without its time line."""

    schema_version: Literal[1] = 1
    number: int
    """Among the reports of the stage, from 1."""
    report: NsysReport
    host: str | None
    """The machine, where the report says."""
    pids: tuple[int | str, ...]
    """Of all its processes."""
    ranks: tuple[RankProcess, ...]
    users: tuple[tuple[int, ...], ...]
    """The processes whose work ran on each device of the time line; -1 is one that is not known."""
