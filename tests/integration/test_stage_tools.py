"""`llmperf nsys` and `llmperf ncu` on the stand-ins and, where they are installed, on the real tools: the same tests.

They rest on ranges and statuses alone. What rests on kernels, which the stand-ins pretend, or on failures that they are
told to have, is in test_stage_nsys.py, test_stage_ncu.py and test_stage_processes.py; real kernels are in test_gpu.py.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from llm_perf_opt.analysis.waterfall import NO_DEVICE_WORK
from llm_perf_opt.hardware.detect import detect_gpus
from llm_perf_opt.records.tools import NsysCapture
from llm_perf_opt.workload.senders import PROBE_RANGE
from tests.cli_process import LLMPERF, environment, read_json
from tests.stage_runs import Expected, command_line, profile, running, stage_entry
from tests.standins.fixtures import Nsight

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("warm_commands")]

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


FEW = ["dataset.sampling.num_samples_per_epoch=1", "measure.repeats=1", "infer.max_new_tokens=3", "device=cpu"]
"""Little work for llmperf's own workload."""


def own(
    tool: Nsight, folder: Path, arguments: list[str], more: Sequence[str] = FEW, **extra: str
) -> subprocess.CompletedProcess[str]:
    """`llmperf nsys` around llmperf's own workload."""
    finished = profile("nsys", tool, folder, [*arguments, *more, "pipeline.nsys.timeout_s=120.0"], **extra)
    if tool.real and "Connection to Agent lost" in finished.stderr:
        pytest.skip("nsys lost its agent, which 2023.4 does about once in a hundred runs on a busy machine")
    return finished


def waiting_for(name: str, end: str | None = "stop") -> list[str]:
    ending = [] if end is None else ["--capture-range-end", end]
    return ["--capture-range", "nvtx", "--nvtx-capture", name, *ending]


def capture_of(folder: Path) -> NsysCapture:
    return NsysCapture.model_validate_json((folder / "run" / "nsys" / "facts.json").read_bytes())


def ranges(folder: Path) -> dict[str, int]:
    """Range → how often, over all reports."""
    capture = capture_of(folder)
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


def test_what_was_captured_for_its_ranges_is_imported(nsys_tool: Nsight, tmp_path: Path) -> None:
    assert nsys(nsys_tool, tmp_path, waiting_for("decode")).returncode == 0
    (tmp_path / "run").rename(tmp_path / "captured")
    # The report of the stand-in is none.
    file = "captured/nsys/run.nsys-rep" if nsys_tool.real else "captured/nsys/run.sqlite"
    finished = command_line(["import", file, "--output", "run"], nsys_tool, tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert ranges(tmp_path) == {"decode": 1}
    assert "no kernel, graph or copy" in (stage_entry(tmp_path, "nsys").reason or "")


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


@pytest.mark.parametrize(
    ("end", "reports", "finishes"),
    [
        ("none", ["run.nsys-rep"], True),
        ("stop", ["run.nsys-rep"], True),
        ("stop-shutdown", ["run.nsys-rep"], False),
        ("repeat", ["run.1.nsys-rep", "run.2.nsys-rep"], True),
        ("repeat:1", ["run.nsys-rep"], True),
        ("repeat:2", ["run.1.nsys-rep", "run.2.nsys-rep"], True),
        ("repeat-shutdown:2", ["run.1.nsys-rep", "run.2.nsys-rep"], False),
    ],
)
def test_every_end_of_a_range(nsys_tool: Nsight, tmp_path: Path, end: str, reports: list[str], finishes: bool) -> None:
    steps = (*STEPS, *STEPS, *([] if finishes else ["sleep:45"]), f"file:{tmp_path / 'done'}")
    finished = nsys(nsys_tool, tmp_path, waiting_for("decode", end), steps)
    assert finished.returncode == 0, finished.stderr
    found = capture_of(tmp_path)
    assert [report.name for report in found.reports] == reports
    held = {"decode": 2, "prefill": 1} if end == "none" else {"decode": len(reports)}
    assert ranges(tmp_path) == held
    assert (tmp_path / "done").exists() == finishes
    assert (found.range_sender, found.ranges) == (None, None)


@pytest.mark.parametrize(("trigger", "end"), [("decode", None), ("decode@*", "stop")])
def test_the_flagship_command(nsys_for_own: Nsight, tmp_path: Path, trigger: str, end: str | None) -> None:
    finished = own(nsys_for_own, tmp_path, waiting_for(trigger, end))
    assert finished.returncode == 0, finished.stderr
    found = capture_of(tmp_path)
    assert ranges(tmp_path) == {"decode": 1}
    assert found.range_sender in (("nvtx", "nvtx-direct") if nsys_for_own.real else ("nvtx-direct",))
    assert found.ranges is not None
    assert found.ranges.differences == ()
    # A workload that nsys ends does not get to saying how many.
    assert found.ranges.sent in ((9,) if end == "stop" else (9, None))
    assert "none missing that should be there" in (tmp_path / "run" / "report.md").read_text()


def test_every_kind_of_range_is_in_the_report_and_nested(nsys_for_own: Nsight, tmp_path: Path) -> None:
    config = tmp_path / "resnet.yaml"
    groups = ["arch@model", "infer@infer"]
    lines = [f"  - model/dummy_shallow_resnet/{group}: dummy_shallow_resnet.default" for group in groups]
    config.write_text("\n".join(["defaults:", "  - dataset: demo_pages", *lines, ""]))
    few = [*FEW[:2], FEW[3], "measure.ranges=[phase, sample, module, step]"]
    finished = own(nsys_for_own, tmp_path, [str(config)], few)
    assert finished.returncode == 0, finished.stderr
    found = capture_of(tmp_path)
    assert found.ranges is not None
    assert (found.ranges.sent, found.ranges.differences) == (found.ranges.held, ())
    assert stage_entry(tmp_path, "nsys").reason is None
    paths = nested_in(tmp_path / "run" / "nsys" / "run.sqlite")
    forward = ["", "/A", "/A/A::A1", "/B"]
    assert paths[:4] == [f"warmup{path}" for path in forward]
    assert paths[4:] == ["sample[0]", *[f"sample[0]/prefill{path}" for path in forward]]
    waterfall = read_json(tmp_path / "run" / "summary.json")["timeline"]["waterfall"]
    prefill = waterfall["prefill"]
    assert prefill["wall_ns"] == prefill["captured_step_ns"] > 0
    assert set(prefill["parts"].values()) == {None}
    assert prefill["reasons"]["idle_by_cause"] == NO_DEVICE_WORK
    assert "no range called decode" in waterfall["decode"]["reasons"]["wall_ns"]


def nested_in(export: Path) -> list[str]:
    """Paths of the push/pop ranges of an export, in the order in which they were opened."""
    # The range of the probe may be there or not.
    query = """SELECT coalesce(e.text, s.value), e.start, e.end FROM NVTX_EVENTS e
        LEFT JOIN StringIds s ON s.id = e.textId WHERE e.eventType = 59 ORDER BY e.start"""
    with contextlib.closing(sqlite3.connect(export)) as connection:
        rows = [row for row in connection.execute(query) if row[0] != PROBE_RANGE]
    opened: list[tuple[str, int]] = []
    paths = []
    for name, start, end in rows:
        opened = [(outer, closes) for outer, closes in opened if closes > start]
        opened.append((name, end))
        paths.append("/".join(outer for outer, _ in opened))
    return paths


@pytest.mark.parametrize(
    ("tool", "wanted"), [("nsys", waiting_for("decod")), ("ncu", [f"{CLI}.nvtx.include=[prefill, decod]"])]
)
def test_a_range_that_is_never_opened_is_refused_before_anything_runs(
    nsight: Nsight, tmp_path: Path, tool: str, wanted: list[str]
) -> None:
    finished = profile(tool, nsight, tmp_path, wanted)
    assert finished.returncode == 2
    assert "opens no range decod" in finished.stderr
    assert "did you mean decode?" in finished.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_domain_that_the_workload_has_no_range_in_is_explained(nsight: Nsight, tmp_path: Path) -> None:
    finished = own(nsight, tmp_path, waiting_for("decode@mine"))
    words = "the workload sent decode 1 times in the default domain, through nvtx"
    Expected("trigger-never-matched", words).check("nsys", finished, tmp_path)


def test_a_tool_that_crashes_in_nvtx_does_not_take_the_run_with_it(nsight: Nsight, tmp_path: Path) -> None:
    finished = own(nsight, tmp_path, [], NVTX_RECORDER_FAULT="crash-push")
    assert finished.returncode == 0, finished.stderr
    found = capture_of(tmp_path)
    assert found.range_sender is None
    assert "was ended by SIGSEGV" in (found.range_sender_reason or "")
    assert "the workload sent no NVTX ranges" in (stage_entry(tmp_path, "nsys").reason or "")
    assert "The workload sent no NVTX ranges" in (tmp_path / "run" / "report.md").read_text()


@pytest.mark.parametrize("tool", ["nsys", "ncu"])
def test_a_capture_that_needs_ranges_fails_where_none_can_be_sent(nsight: Nsight, tmp_path: Path, tool: str) -> None:
    wanted = waiting_for("decode") if tool == "nsys" else [f"{CLI}.nvtx.include=decode"]
    finished = profile(tool, nsight, tmp_path, [*wanted, *FEW], NVTX_RECORDER_FAULT="crash")
    Expected("ranges-not-sent", "was ended by SIGSEGV", exit_code=3).check(tool, finished, tmp_path)


def test_ranges_that_the_tool_lost_are_said(nsight: Nsight, tmp_path: Path) -> None:
    finished = own(nsight, tmp_path, [], NSIGHT_STANDIN_FAIL="loses-ranges")
    assert finished.returncode == 0, finished.stderr
    found = capture_of(tmp_path)
    assert found.ranges is not None
    assert found.range_sender == "nvtx"
    assert found.ranges.differences == ("decode: 1 sent, 0 in the reports",)
    assert "decode: 1 sent, 0 in the reports" in (stage_entry(tmp_path, "nsys").reason or "")
    assert "Range decode: 1 sent, 0 in the reports." in (tmp_path / "run" / "report.md").read_text()


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
        env=environment(**nsys_tool.env, WARM_COMMANDS=""),
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
