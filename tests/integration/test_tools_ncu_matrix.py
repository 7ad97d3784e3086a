"""ncu command lines of this project against the strict stand-in: which kernels each combination profiles."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.errors import StageError
from llm_perf_opt.formats.ncu_csv import raw_page
from llm_perf_opt.formats.ncu_raw import read_results
from llm_perf_opt.records.tools import Failure, NcuFacts
from llm_perf_opt.stages.ncu import argv as ncu_argv
from llm_perf_opt.stages.ncu.settings import Ncu, NcuCli
from llm_perf_opt.tools import ncu as ncu_tool
from llm_perf_opt.tools.discovery import find_tool
from llm_perf_opt.tools.failures import Ending, judge_ncu
from llm_perf_opt.tools.ncu_lists import listed_metrics, listed_sections, split_metrics
from llm_perf_opt.tools.process import Finished, run
from tests.standins.fixtures import Nsight

pytestmark = pytest.mark.integration

STEPS = (
    "kernel:load",
    "push:prefill",
    "kernel:void gemm<float>(int)",
    "push:sam",
    "kernel:conv",
    "pop",
    "pop",
    "push:decode",
    "push:step[0]",
    "kernel:void gemv<half>(int)",
    "kernel:norm",
    "pop",
    "pop",
    "push:predecode",
    "kernel:sample",
    "pop",
    "push:other@mine",
    "kernel:mine",
    "pop:@mine",
    "push:A::A1",
    "kernel:a1",
    "pop",
)


class Profile:
    """One run of ncu and what became of it."""

    def __init__(
        self, nsight: Nsight, folder: Path, steps: tuple[str, ...] = STEPS, fail: str = "", **settings: Any
    ) -> None:
        self.folder = folder
        gating = settings.pop("gating_nvtx", True)
        timeout_s = settings.pop("timeout_s", None)
        options = settings.pop("options", {})
        asked = Ncu(gating_nvtx=gating, timeout_s=timeout_s, ncu_cli=NcuCli.model_validate(settings))
        self.settings = ncu_argv.choose_replay(asked, own=False)[0]
        self.env = {**nsight.env, "NSIGHT_STANDIN_FAIL": fail}
        argv = ncu_argv.profile_options(self.settings, **options)
        command = ncu_argv.profile_argv(nsight.ncu, self.settings, argv, folder, nsight.workload(*steps))
        self.finished = self.run(command, "profile.log")
        self.facts: NcuFacts | None = None
        for report in ncu_tool.reports(folder):
            self.run(ncu_tool.raw_csv_argv(nsight.ncu, report), "raw.csv")
            try:
                self.facts, _ = read_results(raw_page((folder / "raw.csv").read_text().splitlines(keepends=True)))
            except StageError:
                self.facts = None

    def run(self, argv: list[str], log: str) -> Finished:
        limit = self.settings.timeout_s
        return run(argv, log=self.folder / log, cwd=self.folder, env=self.env, timeout_s=limit, grace_s=0.2)

    @property
    def kernels(self) -> list[str]:
        return list(self.facts.kernels) if self.facts is not None else []

    def verdict(self, workload_ok: bool | None = None) -> Failure | None:
        output = (self.folder / "profile.log").read_text()
        ending = Ending(output, self.finished.how_it_ended(), self.finished.ok, self.finished.timed_out, workload_ok)
        sent = [item.sent for item in ncu_argv.filters(self.settings)]
        names = [path.name for path in ncu_tool.reports(self.folder)]
        kernel_name = self.settings.ncu_cli.kernel_name
        return judge_ncu(ending, filters=sent, reports=names, facts=self.facts, kernel_name=kernel_name)


ALL = ["load", "void gemm<float>(int)", "conv", "void gemv<half>(int)", "norm", "sample", "mine", "a1"]
PREFILL = ["void gemm<float>(int)", "conv"]
DECODE = ["void gemv<half>(int)", "norm"]


@pytest.mark.parametrize(
    ("include", "kernels"),
    [
        (None, ALL),
        ("decode", DECODE),
        ("decode/", DECODE),
        # ncu looks for the expression anywhere in a name, as it does for kernel names; see docs/nsight/ncu.md.
        ("decode*", [*DECODE, "sample"]),
        ("regex:^decode/", DECODE),
        ("prefill", PREFILL),
        ("prefill;decode", [*PREFILL, *DECODE]),
        (["prefill", "decode"], [*PREFILL, *DECODE]),
        ("sam", ["conv"]),
        ("prefill/sam", ["conv"]),
        ("prefill/*/sam", ["conv"]),
        ("[prefill", PREFILL),
        ("[sam", []),
        ("prefill]", ["void gemm<float>(int)"]),
        ("sam]", ["conv"]),
        ("A::A1", ["a1"]),
        (r"regex:step\[0\]/", DECODE),
        (r"step\[0\]/", DECODE),
        ("prefill/+/sam", []),
        ("regex:mi.e@oth.r/", ["mine"]),
        ("other", []),
        ("mine@other", ["mine"]),
        ("mine@other*", ["mine"]),
        ("mine@decode", []),
        ("prefil", []),
    ],
)
def test_nvtx_include(nsight: Nsight, tmp_path: Path, include: str | list[str] | None, kernels: list[str]) -> None:
    profile = Profile(nsight, tmp_path, nvtx={"include": include})
    assert profile.kernels == kernels
    failure = profile.verdict()
    if kernels:
        assert failure is None
    else:
        assert failure is not None
        assert failure.code == "filter-never-matched"
        assert str(ncu_argv.filters(profile.settings)[0].sent) in failure.message


def test_gating_off_profiles_everything(nsight: Nsight, tmp_path: Path) -> None:
    assert Profile(nsight, tmp_path, gating_nvtx=False, nvtx={"include": "decode"}).kernels == ALL


@pytest.mark.parametrize(
    ("filters", "kernels"),
    [
        ({"kernel_name": "norm"}, ["norm"]),
        ({"kernel_name": "regex:gem[mv]"}, ["void gemm<float>(int)", "void gemv<half>(int)"]),
        ({"kernel_name": "gemm", "kernel_name_base": "function"}, ["void gemm<float>(int)"]),
        ({"kernel_name": "gemm"}, []),
        ({"launch_skip": 2, "launch_count": 1}, ["conv"]),
        ({"launch_count": 2, "nvtx": {"include": "decode"}}, DECODE),
        ({"launch_skip": 1, "nvtx": {"include": "decode"}}, ["norm"]),
    ],
)
def test_kernel_filters(nsight: Nsight, tmp_path: Path, filters: dict[str, Any], kernels: list[str]) -> None:
    profile = Profile(nsight, tmp_path, **filters)
    assert profile.kernels == kernels
    if not kernels:
        failure = profile.verdict()
        assert failure is not None
        assert "of name gemm" in failure.message
        assert "void gemm<float>(int)" in failure.message  # what it saw instead


@pytest.mark.parametrize("replay_mode", ["kernel", "application", "range", "app-range"])
def test_replay_modes(nsight: Nsight, tmp_path: Path, replay_mode: str) -> None:
    profile = Profile(nsight, tmp_path, replay_mode=replay_mode, nvtx={"include": ["prefill", "decode"]})
    assert profile.verdict() is None
    assert profile.facts is not None
    by_range = replay_mode in ("range", "app-range")
    assert profile.facts.results == (2 if by_range else 4)
    assert (profile.kernels == ["range"]) == by_range


def test_between_the_profiler_calls(nsight: Nsight, tmp_path: Path) -> None:
    steps = ("kernel:a", "profiler:start", "kernel:b", "profiler:stop", "kernel:c")
    assert Profile(nsight, tmp_path, steps, options={"from_start": False}).kernels == ["b"]


def test_range_replay_is_delimited_by_the_profiler_calls_alone(nsight: Nsight, tmp_path: Path) -> None:
    steps = ("kernel:a", "profiler:start", "kernel:b", "profiler:stop", "kernel:c")
    profile = Profile(nsight, tmp_path, steps, replay_mode="app-range", options={"from_start": False})
    assert profile.verdict() is None
    assert profile.facts is not None
    assert profile.facts.results == 1


def test_metrics_units_and_unknown_ones(nsight: Nsight, tmp_path: Path) -> None:
    metrics = ["gpu__time_duration.sum", "dram__bytes_read.sum", "flop_count_hp.sum"]
    facts = Profile(nsight, tmp_path, metrics=metrics).facts
    assert facts is not None
    assert [(metric.name, metric.unit) for metric in facts.metrics] == [
        ("gpu__time_duration.sum", "ns"),
        ("dram__bytes_read.sum", "byte"),
        ("flop_count_hp.sum", ""),
    ]
    assert facts.empty_metrics == ("flop_count_hp.sum",)


def test_kernels_of_another_thread_are_outside_the_range(nsight: Nsight, tmp_path: Path) -> None:
    steps = ("push:decode", "thread:kernel:elsewhere", "pop")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    alone = Profile(nsight, tmp_path / "a", steps, nvtx={"include": "decode"})
    assert alone.kernels == []
    scope = ["--nvtx-push-pop-scope", "process"]
    shared = Profile(nsight, tmp_path / "b", steps, nvtx={"include": "decode"}, extra_args=scope)
    assert shared.kernels == ["elsewhere"]


@pytest.mark.parametrize(
    ("fail", "code", "exit_code"),
    [
        ("no-report", "no-report", 1),
        ("counters-permission", "counters-permission", 3),
        ("driver-mismatch", "driver-mismatch", 3),
        ("profiler-busy", "profiler-busy", 1),
        ("disk-full", "disk-full", 1),
        ("range-replay-unsupported", "range-replay-unsupported", 1),
        ("tool-crash", "tool-failed", 1),
        ("report-broken", "report-broken", 1),
    ],
)
def test_every_failure_is_named(nsight: Nsight, tmp_path: Path, fail: str, code: str, exit_code: int) -> None:
    failure = Profile(nsight, tmp_path, fail=fail).verdict()
    assert failure is not None
    assert (failure.code, failure.exit_code) == (code, exit_code)


def test_a_tool_that_hangs_is_stopped(nsight: Nsight, tmp_path: Path) -> None:
    failure = Profile(nsight, tmp_path, fail="hang", timeout_s=1.0).verdict()
    assert failure is not None
    assert failure.code == "timeout"


def test_a_workload_that_fails(nsight: Nsight, tmp_path: Path) -> None:
    failure = Profile(nsight, tmp_path, ("exit:3",)).verdict()
    assert failure is not None
    assert failure.code == "workload-crashed"
    assert "(status 3)" in failure.message


def test_a_workload_without_kernels(nsight: Nsight, tmp_path: Path) -> None:
    failure = Profile(nsight, tmp_path, ("push:decode", "pop")).verdict()
    assert failure is not None
    assert failure.code == "no-kernels"


@pytest.mark.parametrize("extra", [("--no-such-option",), ("--profile-from-start", "off")])
def test_options_the_tool_refuses(nsight: Nsight, tmp_path: Path, extra: tuple[str, ...]) -> None:
    profile = Profile(nsight, tmp_path, replay_mode="app-range", nvtx={"include": "decode"}, extra_args=extra)
    failure = profile.verdict()
    assert failure is not None
    assert failure.code in ("option-refused", "range-replay-unsupported")
    assert any(extra[0].removeprefix("--") in note for note in ncu_argv.notes(profile.settings))


def test_an_existing_report_is_kept_without_force(nsight: Nsight, tmp_path: Path) -> None:
    (tmp_path / "report.ncu-rep").write_text("precious")
    Profile(nsight, tmp_path, force_overwrite=False)
    assert (tmp_path / "report.ncu-rep").read_text() == "precious"


def test_names_are_checked_against_what_the_tool_lists(nsight: Nsight, tmp_path: Path) -> None:
    lists = {}
    for name, argv in (
        ("metrics", ncu_tool.query_metrics_argv(nsight.ncu)),
        ("sections", ncu_tool.list_sections_argv(nsight.ncu)),
    ):
        assert run(argv, log=tmp_path / name, cwd=tmp_path, env=nsight.env).ok
        lists[name] = (tmp_path / name).read_text()
    known = listed_metrics(lists["metrics"])
    assert split_metrics(["dram__bytes_read.sum", "flop_count_sp"], known) == (
        ["dram__bytes_read.sum"],
        ["flop_count_sp"],
    )
    assert "SpeedOfLight" in listed_sections(lists["sections"])


def test_discovery_finds_the_stand_ins(nsight: Nsight) -> None:
    found = find_tool("ncu", nsight.env)
    assert found is not None
    assert (found.version, found.source) == ("2025.3.1.0", "LLMPERF_NCU")
    other = find_tool("nsys", {**nsight.env, "NSIGHT_STANDIN_VERSION": "2024.6.1.90"})
    assert other is not None
    assert (other.version, other.source) == ("2024.6.1.90", "LLMPERF_NSYS")


def test_discovery_on_path(nsight: Nsight) -> None:
    env = {name: value for name, value in nsight.env.items() if not name.startswith("LLMPERF_")}
    found = find_tool("nsys", {**env, "PATH": f"{nsight.nsys.parent}:{env['PATH']}"}, Path("/nowhere"))
    assert found is not None
    assert (found.path, found.source) == (str(nsight.nsys), "PATH")


def test_a_tool_is_asked_for_its_version_once_until_it_changes(tmp_path: Path) -> None:
    """The profiles of a thousand kernels are planned one by one."""
    tool, asked = tmp_path / "ncu", tmp_path / "asked"
    tool.write_text(f"#!/bin/sh\necho x >> {asked}\necho version 2025.1\n")
    tool.chmod(0o755)
    environ = {"PATH": os.environ["PATH"], "LLMPERF_NCU": str(tool)}
    found = [find_tool("ncu", environ) for _ in range(3)]
    assert [each.version for each in found if each] == ["2025.1"] * 3
    assert asked.read_text().count("x") == 1
    tool.write_text(tool.read_text().replace("2025.1", "2025.2"))
    os.utime(tool, ns=(0, 1))
    changed = find_tool("ncu", environ)
    assert changed is not None
    assert changed.version == "2025.2"
    find_tool("ncu", {**environ, "LANG": "C"})
    assert asked.read_text().count("x") == 3
