"""`llmperf kernels` through the real command line: profiles on the stand-in, exports that were recorded or broken."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from llm_perf_opt.records.kernels import KernelAnalysis
from llm_perf_opt.records.manifest import Manifest
from tests.cli_process import LLMPERF, environment, llmperf, read_json
from tests.stage_runs import command_line
from tests.standins.fixtures import Nsight

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("warm_commands")]

GEMM = "void ns::gemm<int, (bool)1>(int)"
STEPS = (f"repeat:6:kernel:{GEMM}", "kernel:void ns::gemm<int, (bool)10>(int)", "repeat:3:kernel:norm")
CSV = f"""\
Time (%),Total Time (ns),Instances,Avg (ns),Med (ns),Min (ns),Max (ns),StdDev (ns),Name
70.0,7000,6,1166.7,1000.0,900,2000,1.0,"{GEMM}"
20.0,2000,3,666.7,700.0,600,700,1.0,norm
10.0,1000,1,1000.0,1000.0,1000,1000,0.0,gone
"""


def top_file(folder: Path, *arguments: str) -> Path:
    """TOP.yaml of the table, as the command prints it."""
    (folder / "table.csv").write_text(CSV)
    finished = llmperf(["kernels", "top", "table.csv", *arguments], folder)
    assert finished.returncode == 0, finished.stderr
    (folder / "top.yaml").write_text(finished.stdout)
    return folder / "top.yaml"


def profile(
    nsight: Nsight, folder: Path, arguments: list[str], steps: tuple[str, ...] = STEPS, **extra: str
) -> subprocess.CompletedProcess[str]:
    command = ["kernels", "profile", "top.yaml", *arguments, "--", *nsight.workload(*steps)]
    return command_line(command, nsight, folder, **extra)


def analysis(path: Path) -> KernelAnalysis:
    return KernelAnalysis.model_validate_json(path.read_bytes())


def test_top_prints_what_profile_reads(tmp_path: Path) -> None:
    values = yaml.safe_load(top_file(tmp_path, "--limit", "2").read_text())
    assert values["kernels_left_out"] == 1
    first = values["kernels"][0]
    assert first == {
        "name": GEMM,
        "kernel_name": r"regex:^void ns::gemm<int, \(bool\)1>\(int\)$",
        "launches": 6,
        "total_ms": 0.007,
        "share": 0.7,
        "mean_us": 1.167,
        "max_us": 2.0,
        "short_name": "gemm",
        "category": "GEMM",
        "identity": "gemm<int,1>",
        "launch_skip": 3,
    }
    command = ["kernels", "top", "table.csv", "--limit", "2", "--json", "-o", "again.yaml"]
    assert json.loads(llmperf(command, tmp_path).stdout) == values
    assert (tmp_path / "again.yaml").read_text() == (tmp_path / "top.yaml").read_text()


def test_a_run_for_each_kernel_and_one_that_fails(nsight: Nsight, tmp_path: Path) -> None:
    top_file(tmp_path)
    finished = profile(nsight, tmp_path, ["--output", "out"])
    assert finished.returncode == 1, finished.stderr
    assert "kernel 2 of 3: norm" in finished.stderr
    assert "Traceback" not in finished.stderr
    folders = sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir())
    assert folders == ["01-gemm", "02-norm", "03-gone"]
    manifests = [Manifest.model_validate_json((tmp_path / "out" / name / "run.json").read_bytes()) for name in folders]
    assert [manifest.stages["ncu"].status for manifest in manifests] == ["completed", "completed", "failed"]
    assert all(list(manifest.stages) == ["ncu"] for manifest in manifests)
    command = (tmp_path / "out" / "01-gemm" / "ncu" / "cmd.txt").read_text()
    assert "--launch-skip 3 --launch-count 1" in command
    assert "--kernel-name-base demangled" in command
    assert "--nvtx" not in command
    found = analysis(tmp_path / "out" / "kernels.json")
    assert [launch.kernel for launch in found.launches] == [GEMM, "norm"]
    assert [problem.path for problem in found.problems] == [str(tmp_path / "out" / "03-gone")]
    assert "the ncu stage is failed" in found.problems[0].reason
    assert [launch.figures["duration_ns"].value for launch in found.launches] == [1000.0, 1000.0]
    text = (tmp_path / "out" / "kernels.md").read_text()
    assert "03-gone" in text
    assert "never its times" in text
    again = profile(nsight, tmp_path, ["--output", "out"])
    assert again.returncode == 2
    assert "is not empty" in again.stderr


def test_the_report_of_each_run_names_the_class(nsight: Nsight, tmp_path: Path) -> None:
    top_file(tmp_path, "--limit", "1")
    memory = "gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed"
    metrics = f"[sm__throughput.avg.pct_of_peak_sustained_elapsed,{memory}]"
    finished = profile(nsight, tmp_path, ["--output", "out", f"pipeline.ncu.ncu_cli.metrics={metrics}"])
    assert finished.returncode == 0, finished.stderr
    report = (tmp_path / "out" / "01-gemm" / "report.md").read_text()
    assert "| ID | kernel | category | class, 60 % rule | class, SM:DRAM |" in report
    assert "| balanced | unknown | 75.00 |" in report  # what the stand-in counts
    assert "60 % rule (ncu's own)" in report


def test_from_a_capture_to_profiles(nsight: Nsight, tmp_path: Path) -> None:
    steps = nsight.workload(*STEPS)
    captured = command_line(["nsys", "--output", "capture", "--", *steps], nsight, tmp_path)
    assert captured.returncode == 0, captured.stderr
    top = command_line(["kernels", "top", "capture"], nsight, tmp_path)
    assert top.returncode == 0, top.stderr
    (tmp_path / "top.yaml").write_text(top.stdout)
    counted = {kernel["name"]: kernel["launches"] for kernel in yaml.safe_load(top.stdout)["kernels"]}
    assert counted == {GEMM: 6, "void ns::gemm<int, (bool)10>(int)": 1, "norm": 3}
    (tmp_path / "capture" / "nsys" / "run.sqlite").unlink()
    facts = command_line(["kernels", "top", "capture", "--json"], nsight, tmp_path)
    assert json.loads(facts.stdout)["kernels"] == yaml.safe_load(top.stdout)["kernels"]
    finished = profile(nsight, tmp_path, ["artifacts.runs_dir=runs", "artifacts.run_id=p", "--json"])
    assert finished.returncode == 0, finished.stderr
    found = KernelAnalysis.model_validate_json(finished.stdout)
    assert {launch.kernel for launch in found.launches} == set(counted)
    again = command_line(["kernels", "analyze", "runs/p", "--json"], nsight, tmp_path)
    assert len(json.loads(again.stdout)["launches"]) == 3


def test_a_source_without_kernels(tmp_path: Path, nsight: Nsight) -> None:
    captured = command_line(["nsys", "--output", "capture", "--", *nsight.workload("print:hello")], nsight, tmp_path)
    assert captured.returncode == 1
    finished = command_line(["kernels", "top", "capture"], nsight, tmp_path)
    assert finished.returncode == 3
    assert "has no kernels" in finished.stderr
    assert finished.stdout == ""


def test_dry_run_shows_every_command(nsight: Nsight, tmp_path: Path) -> None:
    top_file(tmp_path)
    arguments = ["--dry-run", "--json", "--output", "out", "--limit", "2", "pipeline.ncu.ncu_cli.launch_count=2"]
    finished = profile(nsight, tmp_path, arguments)
    assert finished.returncode == 0, finished.stderr
    plans = json.loads(finished.stdout)
    argv = [plan["stages"][0]["commands"][0] for plan in plans]
    assert [words[words.index("--launch-skip") + 1] for words in argv] == ["3", "1"]
    assert [words[words.index("--launch-count") + 1] for words in argv] == ["2", "2"]
    assert argv[0][argv[0].index("--kernel-name") + 1] == r"regex:^void ns::gemm<int, \(bool\)1>\(int\)$"
    assert not (tmp_path / "out").exists()


def test_an_interrupt_keeps_what_was_profiled(nsight: Nsight, tmp_path: Path) -> None:
    top_file(tmp_path)
    steps = (*STEPS[:2], "file:started", "sleep:30", *STEPS[2:])
    command = [LLMPERF, "kernels", "profile", "top.yaml", "--output", "out", "--", *nsight.workload(*steps)]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment(**nsight.env, WARM_COMMANDS=""),
        stderr=subprocess.PIPE,
        text=True,
        stdout=subprocess.PIPE,
    )
    wait_for(tmp_path / "started", process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    manifest = Manifest.model_validate_json((tmp_path / "out" / "01-gemm" / "run.json").read_bytes())
    assert manifest.status == "interrupted"
    assert not (tmp_path / "out" / "02-norm").exists()
    assert (tmp_path / "out" / "kernels.md").exists()


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    import time

    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["kernels", "profile", "top.yaml"], "which command to profile is missing"),
        (["kernels", "profile", "top.yaml", "--"], "there is no command after --"),
        (["kernels", "profile", "top.yaml", "my.yaml", "--", "true"], "is no override"),
        (["kernels", "profile", "top.yaml", "pipeline.ncu.ncu_cli.launch_skip=1", "--", "true"], "comes from the file"),
        (["kernels", "profile", "bad.yaml", "--", "true"], "bad.yaml:3:5: kernels[0].launch_skp: there is no such key"),
        (["kernels", "profile", "empty.yaml", "--", "true"], "kernels: this key is missing"),
        (["kernels", "top", "table.csv", "--phase", "decode"], "does not say the kernels of phase decode"),
        (["kernels", "top", "table.csv", "--limit", "0"], "--limit"),
        (["kernels", "analyze"], "missing argument"),
    ],
)
def test_mistakes_are_answered(tmp_path: Path, arguments: list[str], words: str) -> None:
    top_file(tmp_path)
    (tmp_path / "bad.yaml").write_text("kernels:\n  - kernel_name: a\n    launch_skp: 3\n    name: a\n")
    (tmp_path / "empty.yaml").write_text("")
    finished = llmperf(arguments, tmp_path)
    assert finished.returncode == 2, finished.stderr
    assert words in finished.stderr
    assert finished.stdout == ""


RAW = (
    '"ID","Process ID","Process Name","Host Name","Kernel Name","Context","Stream","Block Size","Grid Size","Device",'
    '"CC","gpu__time_duration.sum","sm__throughput.avg.pct_of_peak_sustained_elapsed",'
    '"gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed"\n'
    '"","","","","","","","block","grid","","","us","%","%"\n'
)


def raw_row(number: int, name: str = "gemm") -> str:
    return f'"{number}","7","python","h","{name}","1","7","(1, 1, 1)","(1, 1, 1)","0","9.0","1,000.5","70.1","20.0"\n'


def test_broken_files_do_not_stop_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    broken: dict[str, bytes] = {
        "binary.csv": bytes(range(256)),
        "cut.csv": (RAW + raw_row(0, "whole") + raw_row(1)[:-20]).encode(),
        "empty.csv": b"",
        "header.csv": RAW.encode(),
        "utf16.csv": (RAW + raw_row(0)).encode("utf-16"),
    }
    for name, content in broken.items():
        (folder / name).write_bytes(content)
    (folder / "foreign.csv").write_text("a,b\n1,2\n")
    (folder / "good.csv").write_text("==PROF== Connected\n" + RAW + raw_row(5, "good"))
    finished = llmperf(["kernels", "analyze", "files", "none.csv", "--json"], tmp_path)
    assert finished.returncode == 3
    found: dict[str, Any] = json.loads(finished.stdout)
    assert [launch["kernel"] for launch in found["launches"]] == ["whole", "good"]
    assert found["launches"][1]["figures"]["duration_ns"]["value"] == 1_000_500
    assert found["launches"][1]["bound"] == "compute_bound"
    named = [problem["path"] for problem in found["problems"]]
    assert named == [*(f"files/{name}" for name in sorted(broken)), "none.csv"]
    assert all(f"error: {path}: " in finished.stderr for path in named)
    assert "Traceback" not in finished.stderr
    for name in broken:
        finished = llmperf(["kernels", "analyze", f"files/{name}"], tmp_path)
        assert finished.returncode == 1, finished.stderr
    finished = llmperf(["kernels", "analyze", "files/foreign.csv"], tmp_path)
    assert finished.returncode == 1
    assert "has no table of ncu in it; expected a CSV of ncu" in finished.stderr


def test_two_thousand_launches(tmp_path: Path) -> None:
    name = "void " + "long_template_argument<int>, " * 10 + "kernel()"
    with (tmp_path / "many.csv").open("w") as file:
        file.write(RAW)
        file.writelines(raw_row(number, name) for number in range(2_000))
    finished = llmperf(["kernels", "analyze", "many.csv", "--output", "out"], tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "No roofline was drawn" in finished.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["kernels.html", "kernels.json", "kernels.md"]
    assert len(read_json(tmp_path / "out" / "kernels.json")["launches"]) == 2_000
    assert "No roofline was drawn" in (tmp_path / "out" / "kernels.md").read_text()
    shown = llmperf(["kernels", "analyze", "many.csv"], tmp_path).stdout
    assert "2,000 profiled launches: by the 60 % rule 2,000 compute-bound; by SM:DRAM" in shown
    assert "1,900 more: see --output DIR, or --json." in shown
    assert len(shown.splitlines()) < 400


@pytest.mark.real_data
def test_recorded_profiles_are_written_in_every_format(tmp_path: Path, shared_data: Path) -> None:
    folder = shared_data / "ncu" / "dsocr-rtx5090-v1"
    finished = llmperf(["kernels", "analyze", str(folder), "--output", "out"], tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == ""
    assert 'data-kind="roofline"' in (tmp_path / "out" / "kernels.html").read_text()
    assert "| FLOP/byte | roof GFLOP/s |" in (tmp_path / "out" / "kernels.md").read_text()
    assert len(analysis(tmp_path / "out" / "kernels.json").launches) == 18
