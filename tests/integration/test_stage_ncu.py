"""`llmperf ncu` on the stand-in, through the real command line; and both tools around the real workload."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path

import pytest

from llm_perf_opt.records.tools import NcuCapture, NcuRegion, NsysCapture
from tests.cli_process import read_json
from tests.stage_runs import Expected, command_line, profile, stage_entry
from tests.standins.fixtures import Nsight

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("warm_commands")]

CLI = "pipeline.ncu.ncu_cli"
STEPS = ("kernel:load", "push:prefill", "kernel:gemm", "pop", "push:decode", "kernel:gemv", "kernel:norm", "pop")
ONE_LAUNCH = [f"{CLI}.launch_count=1"]
QUICK = ["measure.warmup=0", "infer.max_new_tokens=4", "pipeline.torch_profiler.output.visualization.enable=false"]


def ncu(
    nsight: Nsight, folder: Path, arguments: list[str], steps: tuple[str, ...] = STEPS, **extra: str
) -> subprocess.CompletedProcess[str]:
    return profile("ncu", nsight, folder, [*arguments, "--", *nsight.workload(*steps)], **extra)


def facts(folder: Path) -> NcuCapture:
    return NcuCapture.model_validate_json((folder / "run" / "ncu" / "facts.json").read_bytes())


def test_regions_of_a_command_and_names_that_ncu_does_not_know(nsight: Nsight, tmp_path: Path) -> None:
    arguments = [
        f"{CLI}.nvtx.include=prefill;decode*;nowhere",
        f"{CLI}.metrics=[gpu__time_duration.sum,flop_count_hp]",
        f"{CLI}.sections=[SpeedOfLight,NoSuchSection]",
    ]
    finished = ncu(nsight, tmp_path, arguments)
    assert finished.returncode == 0, finished.stderr
    found = facts(tmp_path)
    assert found.filters == ("prefill/", "regex:decode.*/", "nowhere/")
    assert [result.name for result in found.results] == ["gemm", "gemv", "norm"]
    assert found.dropped_metrics == ("flop_count_hp",)
    assert found.dropped_sections == ("NoSuchSection",)
    assert found.passes == (9, 9, 9)
    reason = stage_entry(tmp_path, "ncu").reason or ""
    assert "dropped: flop_count_hp" in reason
    assert "nowhere: nothing was profiled within it" in reason
    folder = tmp_path / "run" / "ncu"
    with (folder / "raw.csv").open() as file:
        assert [row["Kernel Name"] for row in csv.DictReader(file) if row["ID"]] == ["gemm", "gemv", "norm"]
    regions = {
        region: NcuRegion.model_validate_json((folder / "regions" / region / "report.json").read_bytes())
        for region in found.regions
    }
    names = {name: [result.name for result in region.results] for name, region in regions.items()}
    assert names == {"prefill": ["gemm"], "decode": ["gemv", "norm"], "nowhere": []}
    assert regions["decode"].results[0].values["gpu__time_duration.sum"] == 1000.0
    for part in ("report.md", "sections_report.txt"):
        text = (folder / "regions" / "decode" / part).read_text()
        assert "gemv" in text
        assert "gemm" not in text
    assert "nothing was profiled" in (folder / "regions" / "nowhere" / "report.md").read_text()
    assert (folder / "cmd.txt").read_text().count(" --import ") == 2 + 2 * 2 + 1
    report = (tmp_path / "run" / "report.md").read_text()
    assert "flop_count_hp" in report
    assert "never its times" in report


@pytest.mark.parametrize(
    ("fail", "expected"),
    [
        ("no-report", Expected("no-report", "without a report")),
        ("counters-permission", Expected("counters-permission", "ERR_NVGPUCTRPERM", exit_code=3)),
        ("driver-mismatch", Expected("driver-mismatch", "do not fit together", exit_code=3)),
        ("profiler-busy", Expected("profiler-busy", "driver resource was unavailable")),
        ("disk-full", Expected("disk-full", "No space left on device")),
        ("range-replay-unsupported", Expected("range-replay-unsupported", "Unsupported API call")),
        ("tool-crash", Expected("tool-failed", "SIGSEGV")),
        ("report-broken", Expected("report-broken", "report.ncu-rep")),
        ("hang", Expected("timeout", "time limit")),
    ],
)
def test_every_failure_is_answered(nsight: Nsight, tmp_path: Path, fail: str, expected: Expected) -> None:
    limit = ["pipeline.ncu.timeout_s=2.0"] if fail == "hang" else []
    expected.check("ncu", ncu(nsight, tmp_path, [*limit, *ONE_LAUNCH], NSIGHT_STANDIN_FAIL=fail), tmp_path)


@pytest.mark.parametrize(
    ("steps", "arguments", "expected"),
    [
        (STEPS, [f"{CLI}.nvtx.include=prefil"], Expected("filter-never-matched", "in NVTX range prefil/")),
        (STEPS, [f"{CLI}.kernel_name=gem"], Expected("filter-never-matched", "kernels it saw: load, gemm, gemv")),
        (("push:decode", "pop"), ONE_LAUNCH, Expected("no-kernels", "no kernels to profile")),
        (("exit:3",), ONE_LAUNCH, Expected("workload-crashed", "status 3")),
    ],
)
def test_every_empty_profile_is_answered(
    nsight: Nsight, tmp_path: Path, steps: tuple[str, ...], arguments: list[str], expected: Expected
) -> None:
    expected.check("ncu", ncu(nsight, tmp_path, arguments, steps), tmp_path)


def test_the_plan_says_what_will_be_sent(nsight: Nsight, tmp_path: Path) -> None:
    finished = profile("ncu", nsight, tmp_path, ["--dry-run", f"{CLI}.nvtx.include=decode*", f"{CLI}.metrics=[nope]"])
    assert finished.returncode == 0, finished.stderr
    assert "--nvtx --nvtx-include 'regex:decode.*/'" in finished.stdout
    assert "note: nvtx.include: decode* is sent as regex:decode.*/" in finished.stdout
    assert "note: metrics that ncu does not know here, dropped: nope" in finished.stdout
    assert "--metrics" not in finished.stdout
    assert "estimated passes: 9 (per profiled range" in finished.stdout
    assert "each pass is a run of the whole workload" in finished.stdout
    assert "--replay-mode app-range" in finished.stdout
    assert "note: replay_mode: auto is app-range: nvtx.include names ranges" in finished.stdout
    assert "files: report.ncu-rep, raw.csv" in finished.stdout
    assert not (tmp_path / "run").exists()


def test_the_plan_without_ncu(tmp_path: Path, nsight: Nsight) -> None:
    finished = profile("ncu", nsight, tmp_path, ["--dry-run", "--json"], LLMPERF_NCU=str(tmp_path / "none"))
    assert finished.returncode == 0, finished.stderr
    stage = json.loads(finished.stdout)["stages"][0]
    assert "is not a program that runs" in stage["tool"]
    assert stage["commands"][0][:5] == ["ncu", "--target-processes", "all", "--replay-mode", "kernel"]
    assert "steady_decode_step/" in stage["commands"][0]
    assert stage["passes"]["count"] is None
    assert "was not found" in stage["passes"]["explanation"]


def test_both_tools_around_the_real_workload(nsight: Nsight, tmp_path: Path) -> None:
    """A model range opens the nsys capture; ncu gets one decode step of one sample, decoded to full length."""
    command = ["run", "--no-static", "--no-torch", "--nsys", "--ncu", "--output", "run", *QUICK]
    command += ["pipeline.nsys.capture_range=nvtx", "pipeline.nsys.nvtx_capture=prefill", "measure.repeats=2"]
    command += ["pipeline.nsys.capture_range_end=repeat", "pipeline.torch_profiler.output.prediction.enable=true"]
    finished = command_line(command, nsight, tmp_path, NSIGHT_STANDIN_KERNELS="ranges")
    assert finished.returncode == 0, finished.stderr
    run = tmp_path / "run"
    nsys = NsysCapture.model_validate_json((run / "nsys" / "facts.json").read_bytes())
    assert nsys.device == "cpu"
    assert len(nsys.reports) == 4  # two samples, two repeats
    ranges = {item.name for item in nsys.reports[0].facts.nvtx_ranges}
    assert {"prefill", "sam", "clip", "projector"} <= ranges
    assert "decode" not in ranges
    ncu_facts = facts(tmp_path)
    assert ncu_facts.steady_step
    assert [result.name for result in ncu_facts.results] == ["kernel_in_steady_decode_step"]
    entries = {name: stage_entry(tmp_path, name) for name in ("nsys", "ncu")}
    assert all(entry.work_fingerprint for entry in entries.values())
    # Nothing but scratch is written for them, and no stage that did not run gets a folder.
    assert not (run / "torch_profiler").exists()
    for tool in ("nsys", "ncu"):
        assert (run / "tmp" / "workload" / "torch_profiler" / tool / "pred" / "predictions.jsonl").exists()
    order = read_json(run / "tmp" / "workload" / "ncu" / "order.json")
    assert (order["part"], order["observers"]) == (None, {})
    assert order["config"]["measure"]["repeats"] == 1
    assert order["config"]["infer"]["stop_on_eos"] is False
    assert len(order["inputs"]["epochs"][0]) == 1


def test_ranges_of_the_model_are_profiled_by_running_the_workload_again(nsight: Nsight, tmp_path: Path) -> None:
    """By default for ranges of our own workload: greedily, to its full length, one batch."""
    arguments = [f"{CLI}.nvtx.include=[prefill,decode]", "infer.do_sample=true", "infer.temperature=0.7", *QUICK]
    finished = profile("ncu", nsight, tmp_path, arguments, NSIGHT_STANDIN_KERNELS="ranges")
    assert finished.returncode == 0, finished.stderr
    found = facts(tmp_path)
    assert (found.replay_mode, found.steady_step) == ("app-range", False)
    assert "names ranges of llmperf's own workload" in (found.replay_reason or "")
    assert "--replay-mode app-range" in (tmp_path / "run" / "ncu" / "cmd.txt").read_text()
    assert "with app-range replay" in (tmp_path / "run" / "report.md").read_text()
    order = read_json(tmp_path / "run" / "tmp" / "workload" / "ncu" / "order.json")
    assert (order["config"]["infer"]["do_sample"], order["config"]["infer"]["stop_on_eos"]) == (False, False)
    assert found.facts is not None
    assert found.facts.results == 2
    assert found.regions == ("prefill", "decode")


@pytest.mark.parametrize("tool", ["nsys", "ncu"])
def test_a_tool_that_fails_around_a_good_workload(nsight: Nsight, tmp_path: Path, tool: str) -> None:
    arguments = [*QUICK, "infer.max_new_tokens=2", "measure.repeats=1", "dataset.sampling.num_samples_per_epoch=1"]
    finished = profile(tool, nsight, tmp_path, arguments, NSIGHT_STANDIN_FAIL="fails-after")
    Expected("tool-failed", "the workload itself finished").check(tool, finished, tmp_path)


def test_the_profiler_api_needs_a_gpu(nsight: Nsight, tmp_path: Path) -> None:
    finished = profile("nsys", nsight, tmp_path, ["--capture-range", "cudaProfilerApi", "device=cpu", *QUICK])
    assert finished.returncode == 3
    failed = stage_entry(tmp_path, "nsys")
    assert "cudaProfilerStart needs a CUDA device, and the workload runs on cpu" in (failed.reason or "")
    assert "nvtx_capture: decode" in (failed.remedy or "")


def test_one_token_has_no_decode_step(nsight: Nsight, tmp_path: Path) -> None:
    finished = profile("ncu", nsight, tmp_path, ["infer.max_new_tokens=1"])
    assert finished.returncode == 2
    assert "makes none" in finished.stderr
