"""Profiled kernels in runs, folders and files."""

from __future__ import annotations

from pathlib import Path

from llm_perf_opt.analysis.kernel_names import identity
from llm_perf_opt.analysis.kernels.analyze import is_read
from llm_perf_opt.captures.kernel_files import find_kernels
from llm_perf_opt.records.tools import KernelTime, NsysCapture
from tests.unit.formats.test_ncu_launches import DETAILS, IDENTITY, SOL, row


def test_files_of_one_folder_are_put_together(tmp_path: Path) -> None:
    folder = tmp_path / "kernel_1"
    folder.mkdir()
    (folder / "a.csv").write_text(DETAILS + row(SOL, "Duration", "us", "1.0"))
    (folder / "b.csv").write_text(DETAILS + row(SOL, "Duration", "ns", "1,004") + row(SOL, "DRAM Throughput", "%", "5"))
    (folder / "c.csv").write_text(DETAILS + row(SOL, "Duration", "us", "2.0", pid=8))
    (folder / "d.csv").write_text(DETAILS + row(SOL, "Duration", "us", "3.0"))  # another container's process 7
    (folder / "notes.csv").write_text("x\n1\n")
    found = find_kernels([tmp_path], is_read)
    assert [launch.metrics.get("gpu__time_duration.sum") for launch in found.launches] == [1000.0, 2000.0, 3000.0]
    assert found.launches[0].metrics["gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed"] == 5.0
    assert found.launches[0].source == str(folder)
    assert found.passed_over == [str(folder / "notes.csv")]
    assert found.problems == []


def test_what_the_rules_said_is_put_together_too(tmp_path: Path) -> None:
    one, two = (row("S", "", "", "", name, "OPT", "Words.", "local", "5") for name in ("A", "B"))
    time = row(SOL, "Duration", "us", "1.0")
    (tmp_path / "a.csv").write_text(DETAILS + time + one)
    (tmp_path / "b.csv").write_text(DETAILS + time + one + two)
    (launch,) = find_kernels([tmp_path], is_read).launches
    assert [rule.name for rule in launch.rules] == ["A", "B"]


def test_of_a_file_with_decimal_commas_nothing_is_kept(tmp_path: Path) -> None:
    """`1,205` before the line that gives it away was 1.205, and not 1205."""
    (tmp_path / "a.csv").write_text(
        DETAILS + row(SOL, "Duration", "us", "1,205") + row(SOL, "Duration", "us", "0,25", number=1)
    )
    found = find_kernels([tmp_path], is_read)
    assert found.launches == []
    (problem,) = found.problems
    assert problem.reason.startswith("line 3: 0,25 is not a number as ncu prints it")


def test_a_run_without_kernels_says_why(tmp_path: Path) -> None:
    manifest = '{"stages": {"ncu": {"status": "failed", "reason": "no GPU"}}}'
    for name, text in (("a", manifest), ("b", '{"stages": {}}'), ("c", "{"), ("d", "[]")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(text)
    found = find_kernels([tmp_path], is_read)
    reasons = [problem.reason for problem in found.problems]
    assert reasons[0] == "no kernels: the ncu stage is failed: no GPU"
    assert reasons[1] == "the run had no ncu stage"
    assert all("run.json cannot be read" in reason for reason in reasons[2:])
    (tmp_path / "empty").mkdir()
    found = find_kernels([tmp_path / "empty", tmp_path / "none"], is_read)
    assert [problem.exit_code for problem in found.problems] == [3, 3]


def test_a_run_lends_the_name_of_its_only_gpu(tmp_path: Path) -> None:
    (tmp_path / "ncu").mkdir()
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "ncu" / "raw.csv").write_text(
        f'{IDENTITY},"gpu__time_duration.sum"\n{row("1.5")}'
    )  # fmt: skip
    names = ["NVIDIA L4", "NVIDIA L4"]
    command = tmp_path / "ncu" / "cmd.txt"
    command.touch()
    for more, expected in (([], "NVIDIA L4"), (["NVIDIA T4"], None)):
        gpus = ", ".join(f'{{"name": "{name}"}}' for name in names + more)
        (tmp_path / "env.json").write_text(f'{{"gpus": {{"gpus": [{gpus}]}}}}')
        (launch,) = find_kernels([tmp_path], is_read).launches
        assert launch.gpu == expected
    (tmp_path / "env.json").write_text('{"gpus": {"gpus": [{"name": "NVIDIA L4"}]}}')
    command.unlink()
    assert find_kernels([tmp_path], is_read).launches[0].gpu is None  # imported: profiled elsewhere


def test_a_run_lends_the_times_of_its_capture(tmp_path: Path) -> None:
    for stage in ("ncu", "nsys"):
        (tmp_path / stage).mkdir()
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "ncu" / "raw.csv").write_text(f'{IDENTITY},"gpu__time_duration.sum"\n{row("1.5")}')
    assert not find_kernels([tmp_path], is_read).captured_ns
    kernel = KernelTime(
        name="gemm(int)", instances=2, total_ns=9, mean_ns=4.5, median_ns=4.5, min_ns=4, max_ns=5, std_ns=0.7
    )
    capture = NsysCapture(tool=None, trigger=None, device=None, reports=(), kernels=(kernel,), kernels_left_out=0)
    (tmp_path / "nsys" / "facts.json").write_text(capture.model_dump_json())
    assert find_kernels([tmp_path], is_read).captured_ns == {identity("gemm(int)"): 9}
    (tmp_path / "nsys" / "facts.json").write_text("{")
    assert len(find_kernels([tmp_path], is_read).launches) == 1
