"""Traces of several ranks into one run, without any process."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from llm_perf_opt.artifacts.layout import COLLECTIVES
from llm_perf_opt.artifacts.run_directory import read_manifest
from llm_perf_opt.captures.rank_names import ranks_in_names
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.formats.torch_job import Job, job_of
from llm_perf_opt.importing.execute import import_files, plan_import, plan_resumption
from llm_perf_opt.importing.importer import phase_rule
from llm_perf_opt.records.device_timeline import DeviceTimeline
from llm_perf_opt.records.manifest import Manifest
from llm_perf_opt.reports.facts import read_run
from tests.unit.importing.test_import import Quiet, made
from tests.unit.timeline.example import event

ALL_REDUCE = "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)"
REPORTS = {"md": "report.md", "json": "summary.json"}


def trace(rank: int | None, world_size: int = 2, late_us: int = 0, name: str = ALL_REDUCE, behind: bool = False) -> str:
    """Ten collectives with a kernel before each; this rank is late for the last."""
    events = []
    for number in range(10):
        start, late = 1000 * number + 3_600_000_000 * (rank or 0), late_us if number == 9 else 0
        for part, (kernel, begin, end) in enumerate((("gemm", 100, 200), (name, 300 + late, 900))):
            at = 2 * number + part + 1
            events.append(event("cuda_runtime", "cudaLaunchKernel", start + begin - 20, 5, correlation=at))
            where = {"device": 0, "stream": 7, "correlation": at}
            events.append(event("kernel", kernel, start + begin, end - begin, pid=0, tid=7, **where))
    job = {"distributedInfo": {"backend": "nccl", "rank": rank, "world_size": world_size}} if rank is not None else {}
    parts: list[dict[str, object]] = [dict(job), {"traceEvents": events}]
    return json.dumps({key: value for part in (parts[::-1] if behind else parts) for key, value in part.items()})


def imported(run_path: Path, files: Sequence[Path]) -> tuple[Manifest, DeviceTimeline | None]:
    manifest = import_files(plan_import(files, run_path.parent, run_path), ["llmperf"], Quiet(), jobs=1).manifest
    return manifest, read_run(run_path, manifest).first(DeviceTimeline)


def test_two_ranks(tmp_path: Path) -> None:
    files = [made(tmp_path, "b", trace(1, late_us=400)), made(tmp_path, "a", gzip.compress(trace(0).encode()))]
    manifest, line = imported(tmp_path / "run", files)
    assert [(file.rank, file.stored) for file in manifest.imported] == [
        (1, "torch_profiler/rank-1/trace.json.gz"),
        (0, "torch_profiler/rank-0/trace.json.gz"),
    ]
    assert manifest.exit_code == 0
    assert line is not None
    assert [(row.rank, row.skew_ns, row.late_ns, row.devices) for row in line.ranks] == [
        (0, 400_000, 0, (0,)),
        (1, 0, 400_000, (1,)),
    ]
    assert [device.rank for device in line.devices] == [0, 1]
    for rank, device in zip(line.ranks, line.devices, strict=True):
        assert rank.wall_ns == device.wall_ns == 9_800_000
        assert rank.compute_ns + rank.exposed_communication_ns + rank.exposed_copy_ns + rank.idle_ns == rank.wall_ns
    assert [(row.name, row.calls) for row in line.kernels] == [(ALL_REDUCE, 20), ("gemm", 20)]
    assert line.rank_comparison is not None
    assert line.rank_comparison.straggler == 1
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert [row["late_ns"] for row in summary["timeline"]["ranks"]] == [0, 400_000]
    assert [row["calls"] for row in summary["torch"]["kernels"]] == [20, 20]
    page = (tmp_path / "run" / "report.md").read_text()
    assert page.split("## Ranks\n\n")[1].startswith("Rank 1 is the straggler: it came last for 1 of 10 collectives")
    drilled = page.split("## Drill-down and time line")[1]
    assert [rank for rank in range(2) if f"llmperf report run --trace --rank {rank}" in drilled] == [0, 1]
    assert "rank 1, GPU 0" in page


def test_a_folder_and_what_the_names_say(tmp_path: Path) -> None:
    folder = tmp_path / "traces"
    folder.mkdir()
    for rank in range(3):
        made(folder, f"worker_1733_rank{rank}.json", trace(None))
    made(folder, "README.md", "hello")
    made(folder, ".hidden", "hello")
    manifest, line = imported(tmp_path / "run", [folder])
    assert [file.rank for file in manifest.imported] == [0, 1, 2]
    assert line is not None
    assert line.rank_comparison is not None
    assert (line.rank_comparison.world_size, line.rank_comparison.missing) == (None, ())
    (folder / "x").mkdir()
    with pytest.raises(ConfigError, match="a directory without a file that can be imported"):
        plan_import([folder / "x"], tmp_path, None)


@pytest.mark.parametrize(
    ("names", "ranks"),
    [
        (["r0.json.gz", "r1.json.gz"], [0, 1]),
        (["a/a100-ranks.1.json.gz", "a/a100-ranks.0.json.gz"], [1, 0]),
        (["host_rank-7_2.json", "other_rank_3_2.json"], [7, 3]),
        (["dp0_pp0_tp1_rank1.1700.json", "dp0_pp0_tp0_rank0.1800.json"], [1, 0]),
        (["1700-TP-0.json", "1700-TP-3.json"], [0, 3]),
        (["rank-0/trace.json.gz", "rank-12/trace.json.gz"], [0, 12]),
        (["host_811253.json", "host_811254.json"], None),
        (["a0b1.json", "a1b0.json"], None),
        (["a.json", "b.json"], None),
        (["frank1.json", "frank2.json"], [1, 2]),
    ],
)
def test_ranks_in_names(names: list[str], ranks: list[int] | None) -> None:
    assert ranks_in_names(names) == ranks


@pytest.mark.parametrize(
    ("traces", "words"),
    [
        ({"a": trace(0), "b": trace(0)}, "a and .*b are both rank 0"),
        ({"a": trace(0), "b": trace(1, world_size=4)}, "of different jobs: they say 2 and 4 ranks"),
        (
            {"a": trace(0), "b": trace(1).replace("nccl", "gloo", 1)},
            "different jobs: they say the backend nccl and gloo",
        ),
        ({"a": trace(0), "b": trace(None)}, "neither .*b nor its name says which rank"),
        ({"a": trace(None), "b": trace(None)}, "do not go into one run: their figures cannot be added up"),
        ({"a": trace(0), "b": trace(2)}, "b is rank 2 of a job of 2 ranks"),
    ],
)
def test_what_is_no_job(tmp_path: Path, traces: dict[str, str], words: str) -> None:
    files = [made(tmp_path, name, text) for name, text in traces.items()]
    with pytest.raises(ConfigError, match=words):
        plan_import(files, tmp_path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_job_stands_before_or_behind_the_events(tmp_path: Path) -> None:
    for packed in (False, True):
        for behind in (False, True):
            text = trace(3, world_size=8, behind=behind).replace(
                '"traceEvents": [', '"traceEvents": [' + " " * (1 << 20)
            )
            path = made(tmp_path, "t", gzip.compress(text.encode()) if packed else text)
            assert job_of(path) == Job(3, 8, "nccl", None)
    assert job_of(made(tmp_path, "t", "{}")) == Job()
    assert job_of(made(tmp_path, "t", gzip.compress(trace(None).encode())[:-30])) == Job()


def test_one_is_cut_off_and_one_has_no_collectives(tmp_path: Path) -> None:
    files = [
        made(tmp_path, "r0.json", trace(0, 4, late_us=300)),
        made(tmp_path, "r1.json", trace(1, 4)[:-40]),
        made(tmp_path, "r2.json", trace(2, 4, name="softmax")),
        made(tmp_path, "r3.json", trace(3, 4)),
    ]
    manifest, line = imported(tmp_path / "run", files)
    assert (manifest.exit_code, manifest.stages["torch_profiler"].status) == (1, "failed")
    assert "r1.json cannot be read as a trace" in (manifest.stages["torch_profiler"].reason or "")
    assert line is not None
    assert [(row.rank, row.late_ns, row.reason) for row in line.ranks] == [
        (0, 300_000, None),
        (2, None, "no collective was recorded"),
        (3, 0, None),
    ]
    assert line.rank_comparison is not None
    assert (line.rank_comparison.straggler, line.rank_comparison.missing) == (0, (1,))
    page = (tmp_path / "run" / "report.md").read_text()
    assert "The job has 4 ranks; rank 1 is not here" in page
    assert "Rank 2 could not be compared: no collective was recorded." in page


class Interrupting(Quiet):
    """Interrupts when a rank was read."""

    def update(self, phase: str, done: int, total: int, steps: int) -> None:
        if phase == "reading ranks" and done:
            raise KeyboardInterrupt

    def stage_begins(self, name: str) -> Interrupting:
        return self

    def note(self, message: str) -> None: ...


def test_a_rank_that_was_read_is_not_read_again(tmp_path: Path) -> None:
    files = [made(tmp_path, f"r{rank}.json", trace(rank, late_us=400 * rank)) for rank in (0, 1)]
    run_path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        rules = [phase_rule("decode=^a$")]
        import_files(plan_import(files, tmp_path, run_path, rules=rules), ["llmperf"], Interrupting(), jobs=1)
    assert [file.stored is not None for file in read_manifest(run_path).imported] == [True, False]
    left = run_path / "torch_profiler" / "rank-0" / COLLECTIVES
    before = left.stat().st_mtime_ns
    files[0].unlink()
    plan = plan_resumption(run_path)
    assert [(name, pattern.pattern) for name, pattern in plan.rules] == [("decode", "^a$")]
    ended = import_files(plan, ["llmperf"], Quiet(), jobs=1)
    assert ended.manifest.exit_code == 0
    assert left.stat().st_mtime_ns == before
    whole, line = imported(tmp_path / "whole", [made(tmp_path, "r0.json", trace(0)), files[1]])
    resumed = read_run(run_path, ended.manifest).first(DeviceTimeline)
    assert resumed is not None
    assert line is not None
    assert [note.text.partition(":")[0] for note in resumed.notes] == ["--range decode=^a$"]
    assert resumed.model_copy(update={"notes": line.notes}) == line
    assert [file.sha256 for file in ended.manifest.imported] == [file.sha256 for file in whole.imported]
    assert plan_resumption(run_path).again == ()


def test_a_cut_rank_is_read_again_once_it_is_whole(tmp_path: Path) -> None:
    files = [made(tmp_path, "r0.json", trace(0)), made(tmp_path, "r1.json", trace(1)[:-9])]
    manifest, line = imported(tmp_path / "run", files)
    assert line is not None
    assert (manifest.exit_code, line.ranks[0].reason) == (1, "no other rank could be read")
    made(tmp_path, "r1.json", trace(1))
    ended = import_files(plan_resumption(tmp_path / "run"), ["llmperf"], Quiet(), jobs=1)
    line = read_run(tmp_path / "run", ended.manifest).first(DeviceTimeline)
    assert line is not None
    assert (ended.manifest.exit_code, [row.compared for row in line.ranks]) == (0, [10, 10])


@pytest.mark.real_data
def test_recorded_ranks(shared_data: Path, tmp_path: Path) -> None:
    files = [shared_data / "torch" / f"a100-ranks.{rank}.json.gz" for rank in (0, 1)]
    _, line = imported(tmp_path / "run", files)
    assert line is not None
    found = [ms for row in line.ranks for ms in (row.communication_ns / 1e6, row.exposed_communication_ns / 1e6)]
    assert found == pytest.approx([396, 337, 379, 304], abs=0.6)
    assert {row.reason for row in line.ranks} == {
        "no collective was recorded that ends at one time on all ranks, as an all-reduce does"
    }
    assert line.rank_comparison is not None
    assert (line.rank_comparison.world_size, len(line.rank_comparison.missing)) == (128, 126)
