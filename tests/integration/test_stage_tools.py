"""`llmperf nsys` and `llmperf ncu` on the stand-ins and, where they are installed, on the real tools: the same tests.

They rest on ranges and statuses alone. What rests on kernels, which the stand-ins pretend, or on failures that they are
told to have, is in test_stage_nsys.py, test_stage_ncu.py and test_stage_processes.py; real kernels are in test_gpu.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from llm_perf_opt.hardware.detect import detect_gpus
from llm_perf_opt.records.tools import NsysCapture
from tests.cli_process import LLMPERF, environment
from tests.stage_runs import Expected, profile, running, stage_entry
from tests.standins.fixtures import Nsight

pytestmark = pytest.mark.integration

# No CUDA is traced, so that a report need not hold kernels.
RANGES_ONLY = "pipeline.nsys.trace=nvtx,osrt"
CLI = "pipeline.ncu.ncu_cli"
STEPS = ("push:prefill", "sleep:0.1", "pop", "push:decode", "sleep:0.1", "pop", "sleep:0.2")


def nsys(
    tool: Nsight, folder: Path, arguments: list[str], steps: tuple[str, ...] = STEPS, **extra: str
) -> subprocess.CompletedProcess[str]:
    # Against a tool that hangs, which a release was seen to do; nothing here takes that long.
    limits = [RANGES_ONLY, "pipeline.nsys.timeout_s=60.0"]
    finished = profile("nsys", tool, folder, [*limits, *arguments, "--", *tool.workload(*steps)], **extra)
    if tool.real and "Connection to Agent lost" in finished.stderr:
        pytest.skip("nsys lost its agent, which 2023.4 does about once in a hundred runs on a busy machine")
    return finished


def waiting_for(name: str, end: str | None = "stop") -> list[str]:
    ending = [] if end is None else ["--capture-range-end", end]
    return ["--capture-range", "nvtx", "--nvtx-capture", name, *ending]


def ranges(folder: Path) -> dict[str, int]:
    """Range → how often, over all reports."""
    capture = NsysCapture.model_validate_json((folder / "run" / "nsys" / "facts.json").read_bytes())
    found: dict[str, int] = {}
    for report in capture.reports:
        for item in report.facts.nvtx_ranges:
            found[item.name] = found.get(item.name, 0) + item.count
    return found


def test_a_whole_run_without_the_secrets_of_its_environment(nsys_tool: Nsight, tmp_path: Path) -> None:
    finished = nsys(nsys_tool, tmp_path, [], HF_TOKEN="hf_secret123456")
    assert finished.returncode == 0, finished.stderr
    assert stage_entry(tmp_path, "nsys").status == "completed"
    assert ranges(tmp_path) == {"prefill": 1, "decode": 1}
    names = {path.name for path in (tmp_path / "run" / "nsys").iterdir()}
    assert {"run.nsys-rep", "run.sqlite", "summary_cuda_gpu_kern_sum.csv", "facts.json", "cmd.txt"} <= names
    # What an older nsys puts into its own report is out of reach; the plan says so.
    ours = [path for path in (tmp_path / "run").rglob("*") if path.is_file() and path.suffix != ".nsys-rep"]
    assert not [path for path in ours if b"hf_secret" in path.read_bytes()]


@pytest.mark.parametrize(
    ("trigger", "steps", "captured"),
    [
        ("decode", STEPS, {"decode": 1}),
        ("decode@*", STEPS, {"decode": 1}),
        ("decode@mine", ("push:decode@mine", "sleep:0.1", "pop:@mine", *STEPS), {"decode": 1}),
        ("decode", ("plain:decode", "sleep:0.1", "pop", "sleep:0.2"), {"decode": 1}),
    ],
    ids=["default domain", "any domain", "named domain", "plain string"],
)
def test_one_range_is_captured_and_the_workload_finishes(
    nsys_tool: Nsight, tmp_path: Path, trigger: str, steps: tuple[str, ...], captured: dict[str, int]
) -> None:
    finished = nsys(nsys_tool, tmp_path, waiting_for(trigger), (*steps, f"file:{tmp_path / 'done'}"))
    assert finished.returncode == 0, finished.stderr
    assert ranges(tmp_path) == captured
    assert (tmp_path / "done").exists()


def test_a_workload_that_is_ended_after_its_range_is_no_failure(nsys_tool: Nsight, tmp_path: Path) -> None:
    steps = (*STEPS, "sleep:45", f"file:{tmp_path / 'done'}")
    finished = nsys(nsys_tool, tmp_path, waiting_for("decode", None), steps)
    assert finished.returncode == 0, finished.stderr
    assert ranges(tmp_path) == {"decode": 1}
    assert stage_entry(tmp_path, "nsys").reason is None
    assert not (tmp_path / "done").exists()


def test_without_gating_the_whole_run_is_captured(nsys_tool: Nsight, tmp_path: Path) -> None:
    finished = nsys(nsys_tool, tmp_path, ["pipeline.nsys.gating_nvtx=false", *waiting_for("nowhere")])
    assert finished.returncode == 0, finished.stderr
    assert ranges(tmp_path) == {"prefill": 1, "decode": 1}


@pytest.mark.parametrize(
    ("arguments", "steps", "expected"),
    [
        (waiting_for("deco*"), STEPS, Expected("trigger-never-matched", 'the NVTX range "deco*"')),
        (waiting_for("decode@mine"), STEPS, Expected("trigger-never-matched", 'the NVTX range "decode@mine"')),
        (waiting_for("decode"), ("exit:3",), Expected("workload-crashed", "status 3")),
        (waiting_for("decode"), ("crash",), Expected("workload-crashed", "the workload failed under nsys")),
        (["pipeline.nsys.extra_args=[--nope=1]"], STEPS, Expected("option-refused", "--nope")),
    ],
    ids=["a glob", "another domain", "exit", "crash", "option"],
)
def test_every_empty_capture_is_answered(
    nsys_tool: Nsight, tmp_path: Path, arguments: list[str], steps: tuple[str, ...], expected: Expected
) -> None:
    expected.check("nsys", nsys(nsys_tool, tmp_path, arguments, steps), tmp_path)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")
def test_what_runs_past_its_limit_is_stopped_with_all_it_started(nsys_tool: Nsight, tmp_path: Path) -> None:
    steps = (f"file:{tmp_path / 'ready'}", "sleep:600")
    finished = nsys(nsys_tool, tmp_path, ["pipeline.nsys.timeout_s=8.0"], steps)
    Expected("timeout", "time limit").check("nsys", finished, tmp_path)
    assert (tmp_path / "ready").exists()
    assert not running(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")
def test_a_killed_parent_leaves_nothing_running(nsys_tool: Nsight, tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    workload = nsys_tool.workload(f"file:{ready}", "sleep:600")
    parent = subprocess.Popen(
        [LLMPERF, "nsys", "--output", "run", RANGES_ONLY, "--", *workload],
        cwd=tmp_path,
        env=environment(**nsys_tool.env),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not ready.exists():
        assert parent.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len(running(ready)) >= 2  # nsys and the workload
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 5
    while running(ready) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(ready)
    assert stage_entry(tmp_path, "nsys").status == "running"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([f"{CLI}.extra_args=[--nope]"], Expected("option-refused", "--nope")),
        ([f"{CLI}.nvtx.include='*/'"], Expected("option-refused", "*/")),
        (
            [f"{CLI}.replay_mode=app-range", f"{CLI}.nvtx.include=decode", f"{CLI}.kernel_name=gemm"],
            Expected("range-replay-unsupported", "Option kernel-name is not supported during range replay"),
        ),
        (
            [f"{CLI}.replay_mode=app-range", f"{CLI}.nvtx.include=decode", f"{CLI}.extra_args=[--nvtx-exclude, x/]"],
            Expected("range-replay-unsupported", "Option nvtx-exclude is not supported during range replay"),
        ),
        (
            [f"{CLI}.replay_mode=application", f"{CLI}.extra_args=[--graph-profiling, graph]"],
            Expected("range-replay-unsupported", "only supported with kernel replay"),
        ),
    ],
    ids=["option", "expression", "kernel name", "exclude", "graphs"],
)
def test_what_ncu_refuses_is_answered(
    ncu_tool: Nsight, tmp_path: Path, arguments: list[str], expected: Expected
) -> None:
    finished = profile("ncu", ncu_tool, tmp_path, [*arguments, "--", *ncu_tool.workload(*STEPS)])
    expected.check("ncu", finished, tmp_path)


def test_a_machine_without_a_driver_is_told_so(ncu_tool: Nsight, tmp_path: Path) -> None:
    if ncu_tool.real and detect_gpus().gpus:
        pytest.skip("there is a GPU")
    arguments = [f"{CLI}.launch_count=1", "--", *ncu_tool.workload(*STEPS)]
    finished = profile("ncu", ncu_tool, tmp_path, arguments, NSIGHT_STANDIN_FAIL="driver-missing")
    Expected("driver-missing", "found no NVIDIA driver", exit_code=3).check("ncu", finished, tmp_path)


def test_the_plan_knows_the_lists_of_the_tool(ncu_tool: Nsight, tmp_path: Path) -> None:
    arguments = ["--dry-run", f"{CLI}.sections=[SpeedOfLight,NoSuchSection]", f"{CLI}.nvtx.include=decode"]
    finished = profile("ncu", ncu_tool, tmp_path, arguments)
    assert finished.returncode == 0, finished.stderr
    assert "--section SpeedOfLight" in finished.stdout
    assert "dropped: NoSuchSection" in finished.stdout
    assert "so the stage will fail" not in finished.stdout
    passes = finished.stdout.split("estimated passes: ")[1].split(" ")[0]
    assert 2 <= int(passes) <= 40
