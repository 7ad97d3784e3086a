"""Ranks in reports of nsys, from columns to the record."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from llm_perf_opt.captures.nsys_left import Left, place_of, read_left
from llm_perf_opt.captures.nsys_ranks import NUMBERED, ranks_of
from llm_perf_opt.captures.nsys_reports import Read, write_timelines
from llm_perf_opt.captures.timeline import Captured, analyse
from llm_perf_opt.records.columns import NONE, Device, Events, Process
from llm_perf_opt.records.device_timeline import DeviceTimeline
from llm_perf_opt.records.tools import NsysFacts, NsysReport
from tests.unit.timeline.build import Call, Piece, Rows

MS = 10**6
KINDS = (("timeline", "json"), ("timeline", "parquet"), ("drill_down", "json"))
NAME = "ncclDevKernel_AllReduce_Sum_bf16_RING_LL"


def node(host: str, late_ms: tuple[int, ...], ahead: int = 0, name: str = NAME, pid: int = 100) -> Events:
    """One process for each GPU, which comes so much later for the fourth of eight collectives."""
    work, calls = [], []
    for rank, late in enumerate(late_ms):
        for number in range(8):
            start = ahead + 20 * MS * number + (late * MS if number == 3 else 0)
            at = 10 * rank + number + 1
            calls.append(Call(start - 5000, start - 4000, thread=rank, correlation=at))
            end = ahead + 20 * MS * number + 15 * MS
            work.append(Piece(start, end, device=rank, name=name, process=rank, correlation=at))
    rows = Rows(work=work, calls=calls, threads=list(range(len(late_ms))), devices=len(late_ms))
    events = rows.events()
    events.processes = [Process(pid + number) for number in range(len(late_ms))]
    events.devices = [Device(number, NONE, f"GPU {number}") for number in range(len(late_ms))]
    events.about = dataclasses.replace(events.about, host=host)
    return events


REPORT = NsysReport(
    name="a report",
    facts=NsysFacts(
        exporter_version=None, kernels=0, kernel_ns=0, runtime_calls=0, graph_launches=0, nvtx_events=0, nvtx_ranges=(),
        nvtx_ranges_left_out=0, processes=(), duration_ns=None, diagnostics=(),
    ),
)  # fmt: skip


def write(directory: Path, reports: list[Captured], *, keep: bool = False) -> bool:
    """Whether the reports hold several ranks; they are written, each in its place."""
    alone = len(reports) == 1
    lefts = [Read(REPORT, one).leave(directory, None if alone else n) for n, one in enumerate(reports, 1)]
    for left in () if alone else lefts:
        own = place_of(directory, left.facts.number)
        assert own is not None
        same(read_left(own), left)
    write_timelines(directory, lefts, keep=keep)
    return ranks_of(lefts) is not None


def same(one: Left, other: Left) -> None:
    assert (one.facts, one.line, one.collectives.keys()) == (other.facts, other.line, other.collectives.keys())
    runs = [
        sorted(zip((left.kernels.names[name] for name in left.kernels.name), left.kernels.duration_ns, strict=True))
        for left in (one, other)
    ]
    assert runs[0] == runs[1]
    for process, found in one.collectives.items():
        again = other.collectives[process]
        assert (found.keys, found.communication_ns) == (again.keys, again.communication_ns)
        for field in dataclasses.fields(found.rows):
            assert getattr(found.rows, field.name).tolist() == getattr(again.rows, field.name).tolist()


def read(directory: Path) -> DeviceTimeline:
    return DeviceTimeline.read(directory / "timeline.json")


def test_the_processes_of_one_report_share_a_clock(tmp_path: Path) -> None:
    assert write(tmp_path, [analyse(node("a", (0, 2, 0)), "run.nsys-rep")])
    found = read(tmp_path)
    assert found.source == "run.nsys-rep"
    assert [(row.rank, row.late_ns, row.skew_ns, row.devices) for row in found.ranks] == [
        (0, 0, 2 * MS, (0,)),
        (1, 2 * MS, 0, (1,)),
        (2, 0, 2 * MS, (2,)),
    ]
    assert found.rank_comparison is not None
    assert (found.rank_comparison.clocks, found.rank_comparison.error_ns) == (1, 0)
    assert (found.rank_comparison.straggler, found.rank_comparison.notes) == (1, (NUMBERED,))
    assert (tmp_path / "timeline.parquet").is_file()


def test_reports_of_several_nodes(tmp_path: Path) -> None:
    nodes = [node("a", (0, 0), pid=7), node("b", (0, 4), 3600 * 10**9, pid=7)]
    reports = [analyse(events, f"node{number}.sqlite") for number, events in enumerate(nodes)]
    assert write(tmp_path, reports)
    found = read(tmp_path)
    assert [(row.rank, row.late_ns, row.offset_ns) for row in found.ranks] == [
        (0, 0, 0), (1, 0, 0), (2, 0, 3600 * 10**9), (3, 4 * MS, 3600 * 10**9),
    ]  # fmt: skip
    assert [(device.device, device.rank, device.gpu) for device in found.devices] == [
        (0, 0, "GPU 0"), (1, 1, "GPU 1"), (2, 2, "GPU 0"), (3, 3, "GPU 1"),
    ]  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rank-0", "rank-2", "timeline.json"]
    assert len(DeviceTimeline.read(tmp_path / "rank-2" / "timeline.json").devices) == 2


def one(host: str, source: str, rank: int | None = None, pid: int = 100, name: str = NAME) -> Captured:
    events = node(host, (0,), pid=pid, name=name)
    events.about = dataclasses.replace(events.about, rank=rank, world_size=None if rank is None else 4)
    return analyse(events, source)


def test_what_says_which_rank_it_is(tmp_path: Path) -> None:
    assert write(tmp_path, [one("a", "x.sqlite", 3), one("b", "y.sqlite", 1)])
    found = read(tmp_path)
    assert found.rank_comparison is not None
    assert ([row.rank for row in found.ranks], found.rank_comparison.missing) == ([1, 3], (0, 2))
    assert write(tmp_path, [one("a", "rank5.sqlite"), one("b", "rank2.sqlite", name="gemm")])
    assert [(row.rank, row.reason is None) for row in read(tmp_path).ranks] == [(2, False), (5, False)]


def test_what_is_no_several_ranks(tmp_path: Path) -> None:
    assert not write(tmp_path / "once", [one("a", "run.1")])
    for name, reports in {
        "twice": [one("a", "run.1"), one("a", "run.2")],  # one process
        "silent": [one("a", "r0", name="gemm"), one("b", "r1", name="gemm")],
    }.items():
        assert not write(tmp_path / name, reports)
        files = [f"{kind}.{n}.{end}" for n in (1, 2) for kind, end in KINDS]
        assert sorted(path.name for path in (tmp_path / name).iterdir()) == sorted(files)
    files = [f"{kind}.{end}" for kind, end in KINDS]
    assert sorted(path.name for path in (tmp_path / "once").iterdir()) == sorted(files)


def test_a_report_that_comes_later(tmp_path: Path) -> None:
    last = Read(REPORT, one("b", "rank1.sqlite")).leave(tmp_path, 2)
    write_timelines(tmp_path, [last], keep=True)
    assert (tmp_path / "timeline.json").is_file()
    first = Read(REPORT, one("a", "rank7.sqlite")).leave(tmp_path, 1)
    write_timelines(tmp_path, [first, last], keep=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rank-1", "rank-7", "timeline.json"]
    # What was named after a rank makes room for another one.
    third = Read(REPORT, dataclasses.replace(one("c", "x"), record=first.line)).leave(tmp_path, 3)
    write_timelines(tmp_path, [first, last, third])
    assert [place_of(tmp_path, number) for number in (1, 2, 3)] == [tmp_path / f"rank-{n}" for n in (0, 1, 2)]
    # What was left in part is not there.
    (tmp_path / "rank-1" / "kernel_runs.parquet").unlink()
    assert place_of(tmp_path, 2) is None
    Read(REPORT, one("b", "rank1.sqlite")).leave(tmp_path, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rank-1", "rank-2", "report-1", "timeline.json"]
