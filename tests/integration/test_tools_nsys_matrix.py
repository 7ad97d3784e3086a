"""nsys command lines of this project against the strict stand-in: what each combination of settings captures.

gating x capture_range x range end x plain or registered strings x domain, with a workload that takes milliseconds.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.captures.nsys_reports import read_report
from llm_perf_opt.records.tools import Failure, NsysFacts
from llm_perf_opt.stages.nsys import argv as nsys_argv
from llm_perf_opt.stages.nsys.settings import Nsys
from llm_perf_opt.tools import nsys as nsys_tool
from llm_perf_opt.tools.failures import Ending, judge_nsys
from llm_perf_opt.tools.process import Finished, run
from tests.standins.fixtures import Nsight

pytestmark = pytest.mark.integration

# Two ranges of the same name with a kernel each, one kernel before and one after both.
STEPS = (
    "kernel:before",
    "push:{range}",
    "kernel:first",
    "pop:{at}",
    "push:{range}",
    "kernel:second",
    "pop:{at}",
    "sleep:0.2",
    "kernel:after",
    "file:{done}",
)


class Capture:
    """One capture and what became of it."""

    def __init__(self, nsight: Nsight, folder: Path, steps: tuple[str, ...], fail: str = "", **settings: Any) -> None:
        self.folder = folder
        self.settings = Nsys(**settings)
        self.env = {**nsight.env, "NSIGHT_STANDIN_FAIL": fail}
        self.nsight = nsight
        argv = nsys_argv.profile_argv(nsight.nsys, self.settings, folder, nsight.workload(*steps))
        self.finished = self.run(argv, "capture.log")
        self.facts: list[NsysFacts] = []
        for report in nsys_tool.reports(folder):
            exported = self.run(nsys_tool.export_argv(nsight.nsys, report), "export.log")
            if exported.ok:
                self.facts.append(read_report(report.name, report.with_suffix(".sqlite")).report.facts)

    def run(self, argv: list[str], log: str) -> Finished:
        return run(
            argv, log=self.folder / log, cwd=self.folder, env=self.env, timeout_s=self.settings.timeout_s, grace_s=0.2
        )

    @property
    def kernels(self) -> list[int]:
        return [facts.kernels for facts in self.facts]

    @property
    def names(self) -> list[str]:
        return [path.name for path in nsys_tool.reports(self.folder)]

    def verdict(self, workload_ok: bool | None = None) -> Failure | None:
        trigger = nsys_argv.trigger_words(self.settings)
        logs = "".join(path.read_text() for path in sorted(self.folder.glob("*.log")))
        ending = Ending(logs, self.finished.how_it_ended(), self.finished.ok, self.finished.timed_out, workload_ok)
        streams = [path.name for path in nsys_tool.raw_streams(self.folder)]
        return judge_nsys(ending, trigger=trigger, reports=self.names, streams=streams, facts=self.facts)


def expected(end: str | None) -> tuple[list[str], list[int], bool]:
    """Reports, kernels in each, and whether the workload gets to its end, once the trigger matches."""
    if end == "none":
        return ["run.nsys-rep"], [3], True  # opens at the first range and stays open
    if end == "stop":
        return ["run.nsys-rep"], [1], True
    if end in (None, "stop-shutdown"):
        return ["run.nsys-rep"], [1], False
    if end in ("repeat:1", "repeat-shutdown:1"):
        return ["run.nsys-rep"], [1], end == "repeat:1"  # one report has no number
    return ["run.1.nsys-rep", "run.2.nsys-rep"], [1, 1], end != "repeat-shutdown:2"


ENDS = (None, "none", "stop", "stop-shutdown", "repeat", "repeat:1", "repeat:2:sync", "repeat-shutdown:2")


@dataclass(frozen=True)
class Trigger:
    """How the workload opens and closes its range, what nsys is told to wait for, and whether it should see it.

    Our command line sends NSYS_NVTX_PROFILER_REGISTER_ONLY=0, so plain strings match too.
    """

    push: str
    pop: str
    waits_for: str
    seen: bool


PLAIN_CASE = Trigger("push:decode", "pop", "decode", True)
TRIGGERS = (
    PLAIN_CASE,
    Trigger("push:decode", "pop", "decode@*", True),
    Trigger("push:decode", "pop", "decode@mine", False),
    Trigger("push:decode@mine", "pop:@mine", "decode@mine", True),
    Trigger("push:decode@mine", "pop:@mine", "decode@*", True),
    Trigger("push:decode@mine", "pop:@mine", "decode", False),
    Trigger("push:decode", "pop", "prefill", False),
    Trigger("push:decode", "pop", "deco", False),
    Trigger("push:decode", "pop", "decode*", False),
    Trigger("plain:decode", "pop", "decode", True),
    Trigger("start:decode", "end", "decode", True),
)
# The ends differ in nothing that the form of the trigger could change, so most meet one form only.
MATRIX = [(PLAIN_CASE, end) for end in ENDS]
MATRIX += [(trigger, end) for trigger in TRIGGERS[1:] for end in ((None, "repeat") if trigger.seen else ("stop",))]


def steps(push: str, pop: str, done: Path) -> tuple[str, ...]:
    filled = []
    for step in STEPS:
        if step == "push:{range}":
            filled.append(push)
        elif step == "pop:{at}":
            filled.append(pop)
        else:
            filled.append(step.format(done=done))
    return tuple(filled)


@pytest.mark.parametrize(("trigger", "end"), MATRIX)
def test_nvtx_trigger(nsight: Nsight, tmp_path: Path, trigger: Trigger, end: str | None) -> None:
    done = tmp_path / "done"
    capture = Capture(
        nsight,
        tmp_path,
        steps(trigger.push, trigger.pop, done),
        capture_range="nvtx",
        nvtx_capture=trigger.waits_for,
        capture_range_end=end,
    )
    failure = capture.verdict(workload_ok=None)
    if not trigger.seen:
        assert capture.names == []
        assert failure is not None
        assert failure.code == "trigger-never-matched"
        assert f'"{trigger.waits_for}"' in failure.message
        assert done.exists()
        return
    names, kernels, finishes = expected(end)
    assert failure is None
    assert (capture.names, capture.kernels) == (names, kernels)
    assert done.exists() == finishes
    assert (capture.finished.returncode == 0) == finishes
    ranges = {item.name for facts in capture.facts for item in facts.nvtx_ranges}
    assert ranges == {"decode"}


@pytest.mark.parametrize(
    ("gating", "capture_range", "end"),
    list(itertools.product((True, False), ("none", "nvtx", "cudaProfilerApi"), (None, "stop", "repeat"))),
)
def test_gating(nsight: Nsight, tmp_path: Path, gating: bool, capture_range: str, end: str | None) -> None:
    done = tmp_path / "done"
    profiled = ("kernel:a", "profiler:start", "push:decode", "kernel:b", "kernel:c", "pop", "profiler:stop")
    capture = Capture(
        nsight,
        tmp_path,
        (*profiled, "sleep:0.2", "kernel:d", f"file:{done}"),
        gating_nvtx=gating,
        capture_range=capture_range,
        nvtx_capture="decode",
        capture_range_end=end,
    )
    waits = capture_range == "cudaProfilerApi" or (capture_range == "nvtx" and gating)
    assert capture.verdict() is None
    assert capture.kernels == ([2] if waits else [4])
    assert capture.names == ["run.nsys-rep"]
    assert done.exists() == (not waits or end is not None)


def test_plain_strings_need_the_variable(nsight: Nsight, tmp_path: Path) -> None:
    """Without what our command line adds, a plain string opens nothing: the insurance is one."""
    settings = Nsys(capture_range="nvtx", nvtx_capture="decode", capture_range_end="stop")
    argv = nsys_argv.profile_argv(nsight.nsys, settings, tmp_path, nsight.workload("plain:decode", "kernel:a", "pop"))
    argv.remove(f"--env-var={nsys_argv.REGISTERED_ONLY_OFF}")
    finished = run(argv, log=tmp_path / "log", cwd=tmp_path, env=nsight.env)
    assert finished.ok
    assert nsys_tool.reports(tmp_path) == []
    assert "No reports were generated" in (tmp_path / "log").read_text()


def test_nested_ranges_of_the_same_name_are_one_capture(nsight: Nsight, tmp_path: Path) -> None:
    nested = ("push:decode", "push:decode", "kernel:a", "pop", "kernel:b", "pop", "kernel:c")
    capture = Capture(nsight, tmp_path, nested, capture_range="nvtx", nvtx_capture="decode", capture_range_end="stop")
    assert capture.kernels == [2]


@pytest.mark.parametrize(
    ("fail", "code"),
    [
        ("no-report", "no-report"),
        ("importer-missing", "importer-missing"),
        ("disk-full", "disk-full"),
        ("profiler-busy", "profiler-busy"),
        ("driver-mismatch", "driver-mismatch"),
        ("tool-crash", "tool-failed"),
        ("report-broken", "report-broken"),
        ("export-fails", "report-broken"),
    ],
)
def test_every_failure_is_named(nsight: Nsight, tmp_path: Path, fail: str, code: str) -> None:
    failure = Capture(nsight, tmp_path, ("kernel:a",), fail).verdict()
    assert failure is not None
    assert failure.code == code
    assert failure.remedy


def test_a_tool_that_hangs_is_stopped(nsight: Nsight, tmp_path: Path) -> None:
    failure = Capture(nsight, tmp_path, ("kernel:a",), "hang", timeout_s=1.0).verdict()
    assert failure is not None
    assert failure.code == "timeout"


def test_a_capture_without_kernels(nsight: Nsight, tmp_path: Path) -> None:
    failure = Capture(nsight, tmp_path, ("push:decode", "pop")).verdict()
    assert failure is not None
    assert failure.code == "no-kernels"


def test_a_workload_that_crashes_before_the_trigger(nsight: Nsight, tmp_path: Path) -> None:
    capture = Capture(nsight, tmp_path, ("crash",), capture_range="nvtx", nvtx_capture="decode")
    failure = capture.verdict(workload_ok=False)
    assert failure is not None
    assert failure.code == "workload-crashed"


def test_an_option_the_tool_does_not_know(nsight: Nsight, tmp_path: Path) -> None:
    failure = Capture(nsight, tmp_path, ("kernel:a",), extra_args=("--no-such-option=1",)).verdict()
    assert failure is not None
    assert failure.code == "option-refused"
    assert "--no-such-option" in failure.message


def test_extra_args_reach_the_tool(nsight: Nsight, tmp_path: Path) -> None:
    capture = Capture(
        nsight,
        tmp_path,
        ("push:decode", "kernel:a", "pop", "sleep:0.2", f"file:{tmp_path / 'done'}"),
        capture_range="nvtx",
        nvtx_capture="decode",
        capture_range_end="stop-shutdown",
        extra_args=("--kill=none",),
    )
    assert capture.verdict() is None
    assert (tmp_path / "done").exists()
