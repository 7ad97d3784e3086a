"""Reports of several nodes, one rank each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llm_perf_opt.artifacts.run_directory import read_manifest
from llm_perf_opt.importing.execute import import_files, plan_import, plan_resumption
from llm_perf_opt.records.tools import NsysCapture
from llm_perf_opt.reports.facts import RunFacts, read_run
from tests.unit.importing.test_import import Quiet, export, the

RECORDS = (
    "timeline.json",
    "facts.json",
    "summary_cuda_gpu_kern_sum.csv",
    "rank-0/timeline.parquet",
    "rank-2/timeline.json",
)


def node(folder: Path, rank: int) -> Path:
    kernels = [("gemm", 10 + rank), ("ncclDevKernel_AllReduce_Sum_bf16_RING_LL", 40)]
    return export(folder / f"rank{rank}.sqlite", kernels, pid=100 + rank)


def ranks(facts: RunFacts) -> list[tuple[int, int]]:
    line = json.loads((facts.path / "nsys" / "timeline.json").read_text())
    return [(row["rank"], row["communication_ns"]) for row in line["ranks"]]


class Interrupting(Quiet):
    """Presses Ctrl-C when the second report has been read."""

    def update(self, phase: str, done: int, total: int, steps: int) -> None:
        if (phase, done) == ("reading reports", 2):
            raise KeyboardInterrupt

    def note(self, message: str) -> None:
        assert "what was measured by then" in message


def test_a_report_that_was_read_is_not_read_again(tmp_path: Path) -> None:
    files = [node(tmp_path, rank) for rank in range(3)]
    import_files(plan_import(files, tmp_path, tmp_path / "whole"), ["llmperf"], Quiet(), jobs=1)
    run_path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        import_files(plan_import(files, tmp_path, run_path), ["llmperf"], Interrupting(), jobs=1)
    assert [file.stored is not None for file in read_manifest(run_path).imported] == [True, True, False]
    before = [(run_path / "nsys" / f"report-{n}" / "timeline.json").stat() for n in (1, 2)]
    files[0].unlink()
    files[1].unlink()
    ended = import_files(plan_resumption(run_path), ["llmperf"], Quiet(), jobs=1)
    assert ended.manifest.exit_code == 0
    after = [(run_path / "nsys" / f"rank-{n}" / "timeline.json").stat() for n in (0, 1)]
    assert [(found.st_ino, found.st_mtime_ns) for found in after] == [(was.st_ino, was.st_mtime_ns) for was in before]
    for name in RECORDS:
        assert (run_path / "nsys" / name).read_bytes() == (tmp_path / "whole" / "nsys" / name).read_bytes()
    assert ranks(read_run(run_path, ended.manifest)) == [(0, 40), (1, 40), (2, 40)]
    assert plan_resumption(run_path).again == ()


def test_a_cut_report_is_read_again_once_it_is_whole(tmp_path: Path) -> None:
    files = [node(tmp_path, rank) for rank in range(2)]
    whole = files[1].read_bytes()
    files[1].write_bytes(whole[:5000])
    run_path = tmp_path / "run"
    ended = import_files(plan_import(files, tmp_path, run_path), ["llmperf"], Quiet(), jobs=1)
    facts = read_run(run_path, ended.manifest)
    assert (ended.manifest.exit_code, [row.name for row in the(NsysCapture, facts).reports]) == (1, ["rank0.sqlite"])
    files[1].write_bytes(whole)
    files[0].unlink()
    ended = import_files(plan_resumption(run_path), ["llmperf"], Quiet(), jobs=1)
    facts = read_run(run_path, ended.manifest)
    assert (ended.manifest.exit_code, ranks(facts)) == (0, [(0, 40), (1, 40)])
    kernels = [(row.name, row.instances) for row in the(NsysCapture, facts).kernels]
    assert kernels == [("ncclDevKernel_AllReduce_Sum_bf16_RING_LL", 2), ("gemm", 2)]
