"""The rules of configuration, one test each: what is refused, where, and with which remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_perf_opt.config.keys import all_settings, choices, field_at, section_at
from llm_perf_opt.config.load import load_config
from llm_perf_opt.config.problems import InvalidConfig, Problem
from llm_perf_opt.config.remedies import MOVED, OUTPUTS, REMOVED
from llm_perf_opt.config.schema import Config


def problems_of(
    tmp_path: Path, text: str, *overrides: str, environ: dict[str, str] | None = None
) -> tuple[Problem, ...]:
    file = tmp_path / "my.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidConfig) as caught:
        load_config(file, overrides, environ=environ or {}, cwd=tmp_path)
    return caught.value.problems


def config_of(tmp_path: Path, text: str, *overrides: str) -> Config:
    file = tmp_path / "my.yaml"
    file.write_text(text, encoding="utf-8")
    return load_config(file, overrides, environ={}, cwd=tmp_path).config


# Unknown keys


def test_unknown_key_has_place_path_nearest_and_siblings(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "pipeline:\n  nsys:\n    capture_rnge: nvtx\n")
    assert problem.where.endswith("my.yaml:3:5")
    assert problem.path == "pipeline.nsys.capture_rnge"
    assert "did you mean pipeline.nsys.capture_range?" in problem.remedy
    assert "gating_nvtx, trace, sample" in problem.remedy


@pytest.mark.parametrize("key", ["zzz", "x", "q9", "\N{SNOWMAN}"])
def test_there_is_always_a_nearest_key(key: str, tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, f"infer:\n  {key}: 1\n")
    assert "did you mean infer." in problem.remedy


def test_right_word_in_the_wrong_section(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "max_new_tokens: 3\n")
    assert "did you mean infer.max_new_tokens?" in problem.remedy


@pytest.mark.parametrize("old", MOVED)
def test_moved_key_names_its_new_place(old: str, tmp_path: Path) -> None:
    text = "".join(f"{'  ' * depth}{part}:\n" for depth, part in enumerate(old.split(".")))[:-1] + " 1\n"
    (problem,) = problems_of(tmp_path, text)
    assert problem.path == old
    assert f"write {MOVED[old]} instead" in problem.remedy


def test_every_remedy_points_at_a_setting() -> None:
    for new in (*MOVED.values(), *OUTPUTS.values()):
        assert new in all_settings()
    for old in (*MOVED, *REMOVED):
        assert field_at(old.split(".")) is None, f"{old} is a key of today"


@pytest.mark.parametrize("text", ["run: 3\n", "run:\n  nonsense: 1\n", "analysis: {}\n", "hydra: {run: {dir: x}}\n"])
def test_old_sections_are_refused_whole(text: str, tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, text)
    assert problem.remedy


def test_the_whole_of_run_is_answered_key_by_key(tmp_path: Path) -> None:
    text = "run:\n  mode: deep\n  device: cuda:0\n  repeats: 3\n  top_n_kernels: 30\n"
    found = problems_of(tmp_path, text)
    assert [problem.line for problem in found] == [2, 3, 4, 5]
    assert "llmperf kernels" in found[3].remedy


def test_unknown_keys_of_overrides_and_environment(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "", "infer.max_new_token=3")
    assert problem.where == "override infer.max_new_token=3"
    (problem,) = problems_of(tmp_path, "", environ={"LLMPERF_INFER__MAX_NEW_TOKEN": "3"})
    assert problem.where == "environment variable LLMPERF_INFER__MAX_NEW_TOKEN"
    (problem,) = problems_of(tmp_path, "", environ={"LLMPERF_INFR": "3"})
    assert "LLMPERF_INFER" in problem.remedy


def test_interpolation_is_refused_but_not_in_the_users_own_commands(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "model: {path: '${hydra:runtime.cwd}/x'}\n")
    assert problem.path == "model.path"
    command = "pipeline: {workload: {command: [sh, -c, 'echo ${HOME}']}}\n"
    assert config_of(tmp_path, command).pipeline.workload.command == ("sh", "-c", "echo ${HOME}")


# Values


@pytest.mark.parametrize("value", ["inf", ".inf", "-1", "0", "1.0", "1.5", "true", "'8'", "null", "[1]", "{}"])
def test_max_new_tokens_is_a_strict_integer(value: str, tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, f"infer:\n  max_new_tokens: {value}\n")
    assert (problem.line, problem.column) == (2, 19)
    assert "integer" in problem.message
    assert "large integer" in problem.remedy
    assert "end-of-sequence" in problem.remedy


@pytest.mark.parametrize("value", ["auto", "cpu", "cuda", "cuda:0", "cuda:12"])
def test_device(value: str, tmp_path: Path) -> None:
    assert config_of(tmp_path, f"device: {value}\n").device == value


@pytest.mark.parametrize("value", ["gpu", '"cuda:"', "cuda:a", "CUDA", "''"])
def test_not_a_device(value: str, tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, f"device: {value}\n")
    assert "auto, cpu, cuda or cuda:N" in problem.message


def test_mistakes_speak_yaml(tmp_path: Path) -> None:
    text = "pipeline: {torch_profiler: {activities: cpu}, nsys: {enable: 'yes'}}\nexperiment: 3\n"
    messages = [problem.message for problem in problems_of(tmp_path, text)]
    assert messages == [
        'must be a list, not the text "cpu"',
        'must be true or false, not the text "yes"',
        "must be text, not the number 3",
    ]


def test_allowed_values_are_listed(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "pipeline: {nsys: {capture_range: nvxt}}\n")
    assert "none, nvtx, cudaProfilerApi, hotkey" in problem.message
    assert "did you mean nvtx?" in problem.remedy


def test_an_empty_section_is_explained(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "pipeline:\n  nsys:\n")
    assert "must be a mapping of keys, not null" in problem.message
    assert "remove the line" in problem.remedy


@pytest.mark.parametrize("key", ["model.path", "model.name", "dataset.root", "artifacts.runs_dir", "artifacts.run_id"])
def test_empty_names_are_refused(key: str, tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "", f'{key}=""')
    assert problem.path == key


@pytest.mark.parametrize("value", ["a/b", "..", "/x"])
def test_run_id_is_one_directory(value: str, tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, f"artifacts: {{run_id: '{value}'}}\n")
    assert "one directory" in problem.message


# nsys


def test_nvtx_capture_needs_a_range_even_when_disabled(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "pipeline:\n  nsys:\n    enable: false\n    capture_range: nvtx\n")
    assert (problem.line, problem.path) == (4, "pipeline.nsys.capture_range")
    for blank in ("null", "''", "'  '"):
        problems_of(tmp_path, f"pipeline: {{nsys: {{capture_range: nvtx, nvtx_capture: {blank}}}}}\n")


def test_without_gating_nvtx_capture_needs_nothing(tmp_path: Path) -> None:
    nsys = config_of(tmp_path, "pipeline: {nsys: {capture_range: nvtx, gating_nvtx: false}}\n").pipeline.nsys
    assert nsys.capture_range == "nvtx"


@pytest.mark.parametrize("value", ["decode", "decode@domain", "decode@*"])
def test_nvtx_capture_is_one_expression(value: str, tmp_path: Path) -> None:
    text = f"pipeline: {{nsys: {{capture_range: nvtx, nvtx_capture: '{value}'}}}}\n"
    assert config_of(tmp_path, text).pipeline.nsys.nvtx_capture == value
    problems_of(tmp_path, "pipeline: {nsys: {nvtx_capture: 'a@b@c'}}\n")


@pytest.mark.parametrize(
    "value",
    ["none", "stop", "stop-shutdown", "repeat", "repeat:3", "repeat:3:sync", "repeat:defer", "repeat-shutdown:2:async"],
)
def test_capture_range_end(value: str, tmp_path: Path) -> None:
    text = f"pipeline: {{nsys: {{capture_range_end: '{value}'}}}}\n"
    assert config_of(tmp_path, text).pipeline.nsys.capture_range_end == value


@pytest.mark.parametrize("value", ["repeat-shutdown", "repeat:0", "repeat:x", "halt", "repeat:2:later"])
def test_not_a_capture_range_end(value: str, tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, f"pipeline: {{nsys: {{capture_range_end: '{value}'}}}}\n")
    assert "repeat-shutdown:N" in problem.message


def test_blank_capture_range_end_is_null(tmp_path: Path) -> None:
    assert config_of(tmp_path, "pipeline: {nsys: {capture_range_end: ''}}\n").pipeline.nsys.capture_range_end is None


# ncu


def test_nvtx_include_is_text_or_a_list(tmp_path: Path) -> None:
    base = "pipeline: {ncu: {ncu_cli: {nvtx: {include: %s}}}}\n"
    assert config_of(tmp_path, base % "decode*").pipeline.ncu.ncu_cli.nvtx.include == "decode*"
    assert config_of(tmp_path, base % "[a, b/]").pipeline.ncu.ncu_cli.nvtx.include == ("a", "b/")
    (problem,) = problems_of(tmp_path, base % "[1]")
    assert problem.path == "pipeline.ncu.ncu_cli.nvtx.include[0]"
    (problem,) = problems_of(tmp_path, base % "3")
    assert problem.message == "must be text or a list, not the number 3"


# The `enabled` alias


def test_enabled_is_an_alias_in_every_layer(tmp_path: Path) -> None:
    text = "pipeline: {torch_profiler: {enabled: false}}\n"
    assert config_of(tmp_path, text).pipeline.torch_profiler.enable is False
    assert config_of(tmp_path, text, "pipeline.torch_profiler.enable=true").pipeline.torch_profiler.enable is True
    assert config_of(tmp_path, "", "pipeline.torch_profiler.enabled=false").pipeline.torch_profiler.enable is False
    file = tmp_path / "my.yaml"
    environ = {"LLMPERF_PIPELINE__TORCH_PROFILER__ENABLED": "false"}
    assert load_config(file, environ=environ).config.pipeline.torch_profiler.enable is False


def test_enabled_and_enable_together_is_an_error(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "pipeline: {torch_profiler: {enabled: false, enable: false}}\n")
    assert problem.path == "pipeline.torch_profiler.enabled"


def test_enabled_is_no_alias_elsewhere(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "pipeline: {nsys: {enabled: true}}\n")
    assert "pipeline.nsys.enable" in problem.remedy


# Contradictions


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("infer: {do_sample: true}\n", "infer.do_sample"),
        ("infer: {context_len_mode: fixed}\n", "infer.context_len_mode"),
        ("pipeline: {torch_profiler: {group_by_input_shape: true}}\n", "pipeline.torch_profiler.group_by_input_shape"),
        ("pipeline: {workload: {module: a, command: [b]}}\n", "pipeline.workload.command"),
    ],
)
def test_contradictions(text: str, path: str, tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, text)
    assert problem.path == path
    assert problem.remedy


def test_contradictions_beside_unknown_keys(tmp_path: Path) -> None:
    found = problems_of(tmp_path, "pipeline:\n  nsys:\n    enabl: true\n    capture_range: nvtx\n")
    assert [problem.line for problem in found] == [3, 4]


def test_two_thousand_mistakes_are_cut_short(tmp_path: Path) -> None:
    text = "infer:\n" + "".join(f"  wrong_{number}: 1\n" for number in range(2000))
    file = tmp_path / "my.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidConfig) as caught:
        load_config(file, environ={})
    assert len(caught.value.problems) == 2000
    assert "… and 1800 more" in caught.value.message


# The schema as it is used elsewhere


def test_every_setting_is_found_by_its_path() -> None:
    for name in all_settings():
        assert field_at(name.split(".")) is not None
    assert section_at(("pipeline", "nsys")) is not None
    assert choices(field_at(("pipeline", "torch_profiler", "activities")).annotation) == ("cpu", "cuda")  # type: ignore[union-attr]
