"""Programs of several processes under `llmperf nsys` and `llmperf ncu`: torchrun with two ranks, a shell that forks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli_process import LLMPERF, environment, read_json
from tests.stage_runs import profile, running, stage_entry
from tests.standins.fixtures import HERE, Nsight

pytestmark = pytest.mark.integration

KERNELS = {"nsys": "kernels", "ncu": "results"}


def torchrun(folder: Path, *manner: str) -> list[str]:
    """Two ranks on the CPU, as `torchrun` starts them."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return [*launcher, str(HERE / "ranks.py"), str(folder), *manner]


def forking(nsight: Nsight, last: str = "wait") -> list[str]:
    """A shell whose two children launch one and two kernels."""
    words = " ".join(nsight.workload("kernel:x"))
    return ["sh", "-c", f"{words} & {words} kernel:y & {last}"]


def processes(tool: str, folder: Path) -> list[dict[str, Any]]:
    facts = read_json(folder / "run" / tool / "facts.json")
    if tool == "nsys":
        (report,) = facts["reports"]
        return list(report["facts"]["processes"])
    return list(facts["facts"]["processes"])


def check_two(tool: str, folder: Path) -> None:
    """One report, in which each process is counted on its own, and the report for people names both."""
    assert len(list((folder / "run" / tool).glob("*-rep"))) == 1
    found = processes(tool, folder)
    assert [item[KERNELS[tool]] for item in found] == [2, 1]
    assert len({item["pid"] for item in found}) == 2
    text = (folder / "run" / "report.md").read_text()
    assert all(f"{item['name']} {item['pid']}" in text for item in found)


@pytest.mark.usefixtures("warm_command")
@pytest.mark.parametrize("tool", ["nsys", "ncu"])
def test_the_ranks_of_torchrun_are_told_apart(nsight: Nsight, tmp_path: Path, tool: str) -> None:
    limit = [] if tool == "nsys" else ["pipeline.ncu.ncu_cli.nvtx.include=decode"]
    finished = profile(tool, nsight, tmp_path, [*limit, "--", *torchrun(tmp_path)])
    assert finished.returncode == 0, finished.stderr
    assert [(tmp_path / f"rank-{rank}").read_text() for rank in (0, 1)] == ["2", "2"]
    check_two(tool, tmp_path)
    assert stage_entry(tmp_path, tool).reason is None
    if tool == "ncu":
        assert "--target-processes all" in (tmp_path / "run" / "ncu" / "cmd.txt").read_text()
        assert read_json(tmp_path / "run" / "ncu" / "facts.json")["replay_mode"] == "kernel"


@pytest.mark.usefixtures("warm_command")
@pytest.mark.parametrize("tool", ["nsys", "ncu"])
def test_the_children_of_a_shell_are_told_apart(nsight: Nsight, tmp_path: Path, tool: str) -> None:
    finished = profile(tool, nsight, tmp_path, ["--", *forking(nsight)])
    assert finished.returncode == 0, finished.stderr
    check_two(tool, tmp_path)


@pytest.mark.usefixtures("warm_command")
def test_ncu_can_be_kept_to_the_first_process(nsight: Nsight, tmp_path: Path) -> None:
    only = "pipeline.ncu.ncu_cli.target_processes=application-only"
    finished = profile("ncu", nsight, tmp_path, [only, "--", *forking(nsight)])
    assert finished.returncode == 1
    failed = stage_entry(tmp_path, "ncu")
    assert "no kernels to profile" in (failed.reason or "")
    assert "target_processes: all" in (failed.remedy or "")


@pytest.mark.usefixtures("warm_command")
@pytest.mark.parametrize(("tool", "launcher"), [("nsys", "torchrun"), ("nsys", "shell"), ("ncu", "shell")])
def test_a_process_that_fails_is_named_beside_what_was_captured(
    nsight: Nsight, tmp_path: Path, tool: str, launcher: str
) -> None:
    command = torchrun(tmp_path, "fail") if launcher == "torchrun" else forking(nsight, "wait; exit 3")
    finished = profile(tool, nsight, tmp_path, ["--", *command])
    entry = stage_entry(tmp_path, tool)
    assert finished.returncode == 0, finished.stderr
    assert entry.status == "completed"
    assert f"the workload failed under {tool}" in (entry.reason or "")
    check_two(tool, tmp_path)


@pytest.mark.usefixtures("warm_command")
@pytest.mark.parametrize("tool", ["nsys", "ncu"])
def test_a_process_that_fails_before_any_kernel_is_a_failure(nsight: Nsight, tmp_path: Path, tool: str) -> None:
    finished = profile(tool, nsight, tmp_path, ["--", "sh", "-c", "sh -c 'exit 3' & wait $!"])
    assert finished.returncode == 1
    assert f"the workload failed under {tool}" in (stage_entry(tmp_path, tool).reason or "")


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(("tool", "launcher"), [("nsys", "torchrun"), ("ncu", "shell")])
def test_no_process_outlives_a_killed_parent(nsight: Nsight, tmp_path: Path, tool: str, launcher: str) -> None:
    ready = [tmp_path / f"rank-{rank}" for rank in (0, 1)]
    words = [" ".join(nsight.workload("kernel:x", f"file:{file}", "sleep:600")) for file in ready]
    command = torchrun(tmp_path, "stay") if launcher == "torchrun" else ["sh", "-c", f"{words[0]} & {words[1]} & wait"]
    parent = subprocess.Popen(
        [LLMPERF, tool, "--output", "run", "--", *command],
        cwd=tmp_path,
        env=environment(**nsight.env),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not all(file.exists() for file in ready):
        assert parent.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert len(running(tmp_path)) >= 4  # the tool, what it launched, and two more
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 5
    while running(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(tmp_path)
    assert stage_entry(tmp_path, tool).status == "running"


@pytest.mark.usefixtures("warm_command")
def test_a_program_that_does_not_exist_is_said_before_anything_starts(nsight: Nsight, tmp_path: Path) -> None:
    for tool in ("nsys", "ncu"):
        folder = tmp_path / tool
        folder.mkdir()
        finished = profile(tool, nsight, folder, ["--", "no-such-program", "x"])
        assert finished.returncode == 3
        assert "no-such-program" in finished.stderr
        assert "pipeline.workload.command" in finished.stderr
