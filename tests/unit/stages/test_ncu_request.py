"""What is asked of ncu, from the configuration alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.config.load import load_config
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.plan.model import PlannedStage
from llm_perf_opt.records.inputs import Inputs, Sample
from llm_perf_opt.stages.base import PlanContext
from llm_perf_opt.stages.ncu.request import NcuRequest, child_work, make_request, plan
from llm_perf_opt.stages.ncu.settings import Ncu

SAMPLES = tuple(Sample(kind="prompt", path=None, text=text, size_bytes=1, sha256="0") for text in "abc")
INPUTS = Inputs(samples=SAMPLES, epochs=((2, 0, 1), (0, 1, 2)))


def config(gating: bool = True, command: list[str] | None = None, infer: Any = None, **cli: Any) -> Config:
    ncu = {"gating_nvtx": gating, "ncu_cli": cli}
    return Config.model_validate(
        {
            "model": {"name": "demo"},
            "pipeline": {"ncu": ncu, "workload": {"command": command}},
            "infer": infer or {"batch_size": 2},
        }
    )


def request(**settings: Any) -> NcuRequest:
    return requested(config(**settings))


def requested(found: Config) -> NcuRequest:
    return make_request(found.pipeline.first(Ncu), found, None)


def planned_for(found: Config) -> PlannedStage:
    return plan(PlanContext("ncu", found.pipeline.first(Ncu), found, Path("/run")))


def sent(found: NcuRequest) -> list[str]:
    return [item.sent for item in found.filters]


def test_by_default_one_decode_step_in_a_range_of_its_own() -> None:
    found = request()
    assert found.steady_step
    assert sent(found) == ["steady_decode_step/"]
    assert found.capture.steady_step
    assert found.capture.needs_ranges
    assert found.capture.profiler_api is None


def test_without_gating_the_profiler_api_marks_the_step() -> None:
    found = request(gating=False)
    assert found.options[4:6] == ["--profile-from-start", "off"]
    assert not [word for word in found.options if "nvtx" in word]
    assert found.capture.profiler_api == "steady_step"
    assert not found.capture.needs_ranges


@pytest.mark.parametrize(
    "bound",
    [
        {"launch_count": 5},
        {"kernel_name": "gemm"},
        {"nvtx": {"include": "decode"}},
        {"extra_args": ["--kernel-id", "::gemm:2"]},
        {"extra_args": ["-c", "3"]},
    ],
)
def test_what_bounds_the_launches_replaces_the_default(bound: dict[str, Any]) -> None:
    found = request(**bound)
    assert not found.steady_step
    assert "steady_decode_step/" not in sent(found)


def test_gating_off_drops_the_filters_and_with_them_the_bound() -> None:
    found = request(gating=False, nvtx={"include": "decode"})
    assert found.steady_step
    assert sent(found) == []


def test_a_command_is_never_bounded_for_its_owner() -> None:
    found = request(command=["python", "x.py"])
    assert not found.steady_step
    assert sent(found) == []


def test_regions_are_several_filters_each_once() -> None:
    assert request(nvtx={"include": "decode"}).regions == {}
    found = request(nvtx={"include": ["A::A1", "A/A1", "A::A1"]})
    assert {folder: item.sent for folder, item in found.regions.items()} == {"A__A1": "A::A1/", "A_A1": "A/A1"}
    assert sent(found) == ["A::A1/", "A/A1"]


@pytest.mark.parametrize(
    ("cli", "greedy"),
    [
        ({}, True),
        ({"replay_mode": "app-range", "nvtx": {"include": "decode"}}, True),
        ({"replay_mode": "application", "launch_count": 1}, True),
        ({"nvtx": {"include": "decode"}}, True),
        ({"nvtx": {"include": "decode"}, "replay_mode": "kernel"}, False),
        ({"nvtx": {"include": "decode"}, "launch_count": 3}, False),
    ],
)
def test_what_must_repeat_itself_is_one_greedy_batch(cli: dict[str, Any], greedy: bool) -> None:
    settings = config(infer={"batch_size": 2, "do_sample": True, "temperature": 0.7, "top_p": 0.9}, **cli)
    work, inputs = child_work(requested(settings), settings, INPUTS)
    assert work.measure.repeats == 1
    assert (work.infer.do_sample, work.infer.stop_on_eos) == (not greedy, not greedy)
    assert inputs.epochs == (((2, 0),) if greedy else INPUTS.epochs)
    assert inputs.samples == INPUTS.samples
    Config.model_validate(work.model_dump())


RANGE = {"nvtx": {"include": "decode*"}}


@pytest.mark.parametrize(
    ("settings", "mode", "why"),
    [
        (RANGE, "app-range", "names ranges of llmperf's own workload"),
        (
            {**RANGE, "metrics": ["dram__bytes_read.sum"], "extra_args": ["--clock-control", "none"]},
            "app-range",
            "whole",
        ),
        ({}, "kernel", "nvtx.include names no range"),
        ({"nvtx": {"include": " ; "}}, "kernel", "nvtx.include names no range"),
        ({**RANGE, "gating": False}, "kernel", "gating_nvtx is false"),
        ({**RANGE, "command": ["python", "x.py"]}, "kernel", "need not do the same in every run"),
        ({**RANGE, "kernel_name": "gemm"}, "kernel", "kernel_name chooses among launches"),
        ({**RANGE, "launch_skip": 0}, "kernel", "launch_skip chooses among launches"),
        ({**RANGE, "launch_count": 4}, "kernel", "launch_count chooses among launches"),
        ({**RANGE, "extra_args": ["--kernel-id", "::gemm:2"]}, "kernel", "--kernel-id in extra_args"),
        ({**RANGE, "extra_args": ["-c", "3"]}, "kernel", "--launch-count in extra_args"),
        (
            {**RANGE, "extra_args": ["--launch-skip-before-match=3"]},
            "kernel",
            "--launch-skip-before-match in extra_args",
        ),
        ({**RANGE, "extra_args": ["--import-source", "yes"]}, "kernel", "ncu refuses --import-source"),
    ],
)
def test_what_auto_replay_becomes(settings: dict[str, Any], mode: str, why: str) -> None:
    found = request(**settings)
    assert found.settings.ncu_cli.replay_mode == mode
    assert found.options[2:4] == ["--replay-mode", mode]
    assert why in (found.replay_reason or "")
    notes = planned_for(config(**settings)).notes
    assert [note for note in notes if note.startswith(f"replay_mode: auto is {mode}: ") and why in note]


@pytest.mark.parametrize("mode", ["kernel", "application", "range", "app-range"])
@pytest.mark.parametrize("settings", [{}, RANGE, {**RANGE, "gating": False}, {"launch_count": 2}, {"command": ["x"]}])
def test_a_written_replay_mode_is_obeyed(mode: str, settings: dict[str, Any]) -> None:
    found = request(replay_mode=mode, **settings)
    assert found.settings.ncu_cli.replay_mode == mode
    assert found.replay_reason is None


def test_the_presets_for_decode_profile_it_as_a_range() -> None:
    for name in ("ncu.rtx3090", "ncu.rtx3090.compute", "ncu.rtx3090.memory", "ncu.datacenter"):
        loaded = load_config(overrides=[f"profiling/ncu@pipeline.ncu={name}"], environ={}).config
        assert requested(loaded).settings.ncu_cli.replay_mode == "app-range", name
    for name in ("ncu.default", "ncu.high"):
        loaded = load_config(overrides=[f"profiling/ncu@pipeline.ncu={name}"], environ={}).config
        assert requested(loaded).settings.ncu_cli.replay_mode == "kernel", name


def test_ranges_that_overlap_are_one_result_and_the_plan_says_so() -> None:
    notes = planned_for(config(nvtx={"include": ["prefill", "sam"]})).notes
    assert any("overlap" in note for note in notes)
    single = planned_for(config(nvtx={"include": "prefill"})).notes
    assert not any("overlap" in note for note in single)


def test_no_decode_step_to_profile() -> None:
    with pytest.raises(ConfigError, match="makes none"):
        request(infer={"max_new_tokens": 1})
    assert not request(infer={"max_new_tokens": 1}, launch_count=1).steady_step


def test_the_plan_of_a_machine_without_ncu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLMPERF_NCU", "/nowhere/ncu")
    monkeypatch.setattr("llm_perf_opt.stages.wrapped.find_tool", lambda *_: None)
    monkeypatch.setenv("HF_TOKEN", "hf_x")
    planned = planned_for(config(nvtx={"include": "decode;prefill"}))
    assert planned.tool == "ncu was not found; the stage will fail (exit code 3)"
    assert len(planned.commands) == 1 + 2 * 3
    assert planned.commands[0][0] == "ncu"
    assert planned.commands[3][:4] == ("ncu", "--import", "/run/ncu/report.ncu-rep", "--nvtx-include")
    assert "HF_TOKEN" in planned.left_out
    assert planned.passes is not None
    assert planned.passes.count is None
    kernels = planned_for(config(nvtx={"include": "decode"}, replay_mode="kernel"))
    assert any("app-range profiles each range" in note for note in kernels.notes)


def test_the_plan_of_an_unbounded_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_perf_opt.stages.wrapped.find_tool", lambda *_: None)
    kernels = planned_for(config(command=["x"]))
    assert any("every kernel of the command" in note for note in kernels.notes)
    ranges = planned_for(config(command=["x"], replay_mode="range"))
    assert any("names none" in note for note in ranges.notes)
