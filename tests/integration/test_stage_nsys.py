"""`llmperf nsys` on the stand-in, through the real command line: kernels, and the failures that it can be told to have.

What needs neither is in test_stage_tools.py, and runs on the real nsys too.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from llm_perf_opt.records.tools import NsysCapture
from tests.cli_process import llmperf, read_json
from tests.stage_runs import Expected, command_line, profile, stage_entry
from tests.standins.fixtures import Nsight

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("warm_commands")]

WAIT_FOR_DECODE = ["--capture-range", "nvtx", "--nvtx-capture", "decode"]
DECODING = ("kernel:load", "push:decode", "kernel:a", "kernel:b", "pop", "sleep:0.1")


def nsys(
    nsight: Nsight, folder: Path, arguments: list[str], steps: tuple[str, ...], **extra: str
) -> subprocess.CompletedProcess[str]:
    return profile("nsys", nsight, folder, [*arguments, "--", *nsight.workload(*steps)], **extra)


def capture(folder: Path) -> NsysCapture:
    return NsysCapture.model_validate_json((folder / "run" / "nsys" / "facts.json").read_bytes())


def test_a_command_of_ones_own(nsight: Nsight, tmp_path: Path) -> None:
    finished = nsys(nsight, tmp_path, [], DECODING, HF_TOKEN="hf_secret123456")
    assert finished.returncode == 0, finished.stderr
    assert stage_entry(tmp_path, "nsys").status == "completed"
    folder = tmp_path / "run" / "nsys"
    assert {path.name for path in folder.iterdir()} == {
        *("run.nsys-rep", "run.sqlite", "summary_cuda_gpu_kern_sum.csv", "kernels.md", "facts.json", "cmd.txt"),
        *("timeline.json", "timeline.parquet", "drill_down.json"),
    }
    assert "| load | other | 1 |" in (folder / "kernels.md").read_text()
    commands = (folder / "cmd.txt").read_text()
    assert "nsys profile --trace=cuda,nvtx,osrt --sample=none -o" in commands
    assert "nsys export --type sqlite" in commands
    assert "-u HF_TOKEN" in commands
    assert not [path for path in (tmp_path / "run").rglob("*") if path.is_file() and b"hf_secret" in path.read_bytes()]
    report = (tmp_path / "run" / "report.md").read_text()
    assert "Nsight captures" in report
    assert "3 kernels" in report


def test_one_range_of_it(nsight: Nsight, tmp_path: Path) -> None:
    finished = nsys(nsight, tmp_path, [*WAIT_FOR_DECODE, "--capture-range-end", "stop"], DECODING)
    assert finished.returncode == 0, finished.stderr
    found = capture(tmp_path)
    assert found.trigger == 'the NVTX range "decode"'
    assert [kernel.name for kernel in found.kernels] == ["a", "b"]
    assert found.device is None
    decode = read_json(tmp_path / "run" / "summary.json")["timeline"]["waterfall"]["decode"]
    parts = decode["parts"]
    exposed = parts["exposed_communication_ns"] + parts["exposed_copy_ns"]
    assert decode["wall_ns"] == decode["kernel_ns"] + exposed + sum(parts["idle_by_cause"].values())
    assert decode["kernel_ns"] > 0
    assert "not llmperf's own workload" in decode["reasons"]["static_bound_ns"]


def test_every_range_is_a_report_and_a_killed_workload_is_no_failure(nsight: Nsight, tmp_path: Path) -> None:
    steps = (*DECODING, *DECODING, *DECODING, f"file:{tmp_path / 'done'}")
    finished = nsys(nsight, tmp_path, [*WAIT_FOR_DECODE, "--capture-range-end", "repeat-shutdown:2"], steps)
    assert finished.returncode == 0, finished.stderr
    found = capture(tmp_path)
    assert [report.name for report in found.reports] == ["run.1.nsys-rep", "run.2.nsys-rep"]
    assert {kernel.name: kernel.instances for kernel in found.kernels} == {"a": 2, "b": 2}
    assert not (tmp_path / "done").exists()


def test_the_workload_of_a_file_needs_no_model(nsight: Nsight, tmp_path: Path) -> None:
    script = nsight.workload()[1]
    config = {
        "model": {"name": "causal_lm", "path": "not/there"},
        "pipeline": {"nsys": {"enable": True}, "workload": {"command": ["python3", script, "kernel:a"]}},
    }
    (tmp_path / "own.yaml").write_text(json.dumps(config))
    finished = profile("nsys", nsight, tmp_path, ["own.yaml", "--dry-run", "--json"])
    assert finished.returncode == 0, finished.stderr
    stage = json.loads(finished.stdout)["stages"][0]
    assert stage["commands"][0][-3:] == ["python3", script, "kernel:a"]
    assert stage["environment"] == {}
    assert "run.nsys-rep" in stage["files"]
    assert stage["tool"].startswith("nsys 2026.1.1.204 at ")
    assert not (tmp_path / "tmp").exists()


@pytest.mark.parametrize(
    ("fail", "expected"),
    [
        ("no-report", Expected("no-report", "without a report")),
        ("importer-missing", Expected("importer-missing", "QdstrmImporter", exit_code=3)),
        ("disk-full", Expected("disk-full", "No space left on device")),
        ("profiler-busy", Expected("profiler-busy", "MULTIPLE_SUBSCRIBERS")),
        ("driver-mismatch", Expected("driver-mismatch", "not supported by this build", exit_code=3)),
        ("tool-crash", Expected("tool-failed", "SIGSEGV")),
        ("report-broken", Expected("report-broken", "run.nsys-rep")),
        ("export-fails", Expected("report-broken", "could not be read")),
        ("hang", Expected("timeout", "time limit")),
    ],
)
def test_every_failure_is_answered(nsight: Nsight, tmp_path: Path, fail: str, expected: Expected) -> None:
    limit = ["pipeline.nsys.timeout_s=2.0"] if fail == "hang" else []
    finished = nsys(nsight, tmp_path, limit, DECODING, NSIGHT_STANDIN_FAIL=fail)
    expected.check("nsys", finished, tmp_path)


@pytest.mark.parametrize(
    ("steps", "arguments", "expected"),
    [
        (("push:decode", "pop"), [], Expected("no-kernels", "no kernel")),
        (("exit:3",), [], Expected("workload-crashed", "status 3")),
    ],
)
def test_every_empty_capture_is_answered(
    nsight: Nsight, tmp_path: Path, steps: tuple[str, ...], arguments: list[str], expected: Expected
) -> None:
    expected.check("nsys", nsys(nsight, tmp_path, arguments, steps), tmp_path)


def test_without_the_tool_the_other_stages_run(tmp_path: Path) -> None:
    command = ["run", "--no-torch", "--nsys", "--ncu", "--output", "run"]
    finished = llmperf(command, tmp_path, LLMPERF_NSYS=str(tmp_path / "no-nsys"), LLMPERF_NCU=str(tmp_path / "no-ncu"))
    assert finished.returncode == 3
    assert "LLMPERF_NSYS is" in finished.stderr
    assert stage_entry(tmp_path, "static_analysis").status == "completed"
    for stage in ("nsys", "ncu"):
        assert (stage_entry(tmp_path, stage).status, stage_entry(tmp_path, stage).exit_code) == ("failed", 3)
        assert not (tmp_path / "run" / stage).exists()


def test_a_stale_report_does_not_pass_for_a_new_one(nsight: Nsight, tmp_path: Path) -> None:
    assert nsys(nsight, tmp_path, [], DECODING, NSIGHT_STANDIN_FAIL="export-fails").returncode == 1
    assert (tmp_path / "run" / "nsys" / "run.nsys-rep").exists()
    again = command_line(["run", "--resume", "run"], nsight, tmp_path, NSIGHT_STANDIN_FAIL="no-report")
    assert again.returncode == 1
    assert "without a report" in (stage_entry(tmp_path, "nsys").reason or "")


def test_a_secret_on_a_foreign_command_line_is_kept_nowhere(nsight: Nsight, tmp_path: Path) -> None:
    workload = nsight.workload("plain:--api-key", "plain:hf_Secret123456")
    profile("nsys", nsight, tmp_path, ["--", *workload, "--token", "hf_Secret123456"], NSIGHT_STANDIN_FAIL="no-report")
    for path in (tmp_path / "run").rglob("*"):
        assert path.suffix == ".log" or not path.is_file() or b"hf_Secret" not in path.read_bytes(), path
    again = command_line(["run", "--resume", "run"], nsight, tmp_path)
    assert again.returncode == 2
    assert "held a secret, which was not kept" in again.stderr
