"""The specification of the configuration as a check list: every key with its default, every rule, one case each.

The other tests of this folder go into each rule; this one says that none was forgotten.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.config.keys import all_settings, choices, field_at
from llm_perf_opt.config.load import load_config
from llm_perf_opt.config.problems import InvalidConfig
from llm_perf_opt.config.remedies import MOVED, REMOVED
from llm_perf_opt.config.schema import Config

OUTPUT: dict[str, object] = {
    "prediction.enable": False,
    "prediction.save_dir": "pred",
    "visualization.enable": True,
    "visualization.save_dir": "viz",
    "extra.deepseek_ocr.prediction.strip_special_tokens": False,
    "extra.deepseek_ocr.visualization.max_images": 16,
    "extra.deepseek_ocr.visualization.thumbnail_width": 480,
}
DEFAULTS: dict[str, object] = {
    "experiment": "default",
    "device": "auto",
    "use_flash_attn": True,
    "model.name": "auto",
    "model.path": None,
    "model.revision": None,
    "model.trust_remote_code": False,
    "model.dtype": "auto",
    "model.weights": "auto",
    "model.seed": 0,
    "model.preprocess.enable": False,
    "model.preprocess.base_size": None,
    "model.preprocess.image_size": None,
    "model.preprocess.crop_mode": None,
    "model.preprocess.patch_size": None,
    "model.preprocess.downsample_ratio": None,
    "infer.max_new_tokens": 64,
    "infer.temperature": 0.0,
    "infer.do_sample": False,
    "infer.top_p": None,
    "infer.no_repeat_ngram_size": None,
    "infer.batch_size": 1,
    "infer.seed": 0,
    "infer.stop_on_eos": True,
    "infer.execution": "eager",
    "infer.cache": "dynamic",
    "infer.context_len_mode": "auto",
    "infer.context_len_fixed": None,
    "dataset.name": None,
    "dataset.root": None,
    "dataset.subset_filelist": None,
    "dataset.fallback_patterns": ("**/*",),
    "dataset.prompt": None,
    "dataset.synthetic.prompt_tokens": None,
    "dataset.synthetic.images": (),
    "dataset.sampling.num_epochs": 1,
    "dataset.sampling.num_samples_per_epoch": None,
    "dataset.sampling.randomize": False,
    "dataset.sampling.seed": None,
    "measure.warmup": 1,
    "measure.repeats": 3,
    "measure.launches": 1,
    "measure.ranges": ("phase", "module"),
    "parallel.tensor": 1,
    "parallel.nodes": 1,
    "parallel.backend": None,
    "parallel.rendezvous": None,
    "hardware.gpu": "auto",
    "hardware.peaks": "auto",
    "hardware.peak_tflops": None,
    "hardware.memory_bandwidth_gbs": None,
    "pipeline.static_analysis.enable": True,
    "pipeline.static_analysis.write_reports": True,
    "pipeline.static_analysis.use_analytic_fallback": True,
    "pipeline.static_analysis.use_synthetic_inputs": True,
    "pipeline.static_analysis.attention_flops": "causal",
    "pipeline.static_analysis.logits": "last",
    "pipeline.torch_profiler.enable": True,
    "pipeline.torch_profiler.activities": ("cpu", "cuda"),
    "pipeline.torch_profiler.record_shapes": False,
    "pipeline.torch_profiler.profile_memory": False,
    "pipeline.torch_profiler.with_stack": False,
    "pipeline.torch_profiler.group_by_input_shape": False,
    "pipeline.torch_profiler.warmup_rounds": 2,
    "pipeline.torch_profiler.warmup_synthetic": True,
    "pipeline.torch_profiler.steps": 16,
    **{f"pipeline.torch_profiler.output.{key}": value for key, value in OUTPUT.items()},
    "pipeline.direct_inference.enable": False,
    **{f"pipeline.direct_inference.output.{key}": value for key, value in OUTPUT.items()},
    "pipeline.memory.enable": False,
    "pipeline.nsys.enable": False,
    "pipeline.nsys.gating_nvtx": True,
    "pipeline.nsys.trace": "cuda,nvtx,osrt",
    "pipeline.nsys.sample": "none",
    "pipeline.nsys.capture_range": "none",
    "pipeline.nsys.capture_range_end": None,
    "pipeline.nsys.nvtx_capture": None,
    "pipeline.nsys.cuda_graph_trace": None,
    "pipeline.nsys.ranks": 0,
    "pipeline.nsys.timeout_s": None,
    "pipeline.nsys.extra_args": (),
    "pipeline.ncu.enable": False,
    "pipeline.ncu.gating_nvtx": True,
    "pipeline.ncu.timeout_s": None,
    "pipeline.ncu.ncu_cli.target_processes": "all",
    "pipeline.ncu.ncu_cli.replay_mode": "auto",  # app-range for ranges of our own workload, else kernel
    "pipeline.ncu.ncu_cli.nvtx.include": None,
    "pipeline.ncu.ncu_cli.set": "roofline",
    "pipeline.ncu.ncu_cli.sections": None,
    "pipeline.ncu.ncu_cli.metrics": None,
    "pipeline.ncu.ncu_cli.kernel_name": None,
    "pipeline.ncu.ncu_cli.kernel_name_base": "demangled",
    "pipeline.ncu.ncu_cli.launch_skip": None,
    "pipeline.ncu.ncu_cli.launch_count": None,
    "pipeline.ncu.ncu_cli.export.csv": True,
    "pipeline.ncu.ncu_cli.force_overwrite": True,
    "pipeline.ncu.ncu_cli.extra_args": (),
    "pipeline.nvml.enable": "auto",
    "pipeline.nvml.interval_ms": 100,
    "pipeline.machine.enable": True,
    "pipeline.workload.module": None,
    "pipeline.workload.command": None,
    "pipeline.plugins": {},
    "artifacts.runs_dir": "tmp/profile-output",
    "artifacts.run_id": None,
    "artifacts.max_bytes": 2147483648,
}
CHOICES = {
    "model.weights": ("auto", "pretrained", "random"),
    "infer.execution": ("eager", "compile", "cuda_graph"),
    "infer.cache": ("dynamic", "static"),
    "infer.context_len_mode": ("auto", "fixed", "max"),
    "measure.ranges": ("phase", "module", "sample", "step"),
    "pipeline.static_analysis.attention_flops": ("causal", "full"),
    "pipeline.static_analysis.logits": ("last", "all"),
    "pipeline.torch_profiler.activities": ("cpu", "cuda"),
    "pipeline.nsys.capture_range": ("none", "nvtx", "cudaProfilerApi", "hotkey"),
    "pipeline.nsys.cuda_graph_trace": ("graph", "node"),
    "pipeline.ncu.ncu_cli.kernel_name_base": ("demangled", "function", "mangled"),
}
REMEDIES = {
    "run.stage1_repeats": "dataset.sampling.num_samples_per_epoch",
    "run.repeats": "measure.repeats",
    "run.dataset_subset_filelist": "dataset.subset_filelist",
    "run.representative_max_new_tokens": "infer.max_new_tokens",
    "run.top_n_kernels": "pipeline.ncu.ncu_cli.kernel_name",
    "run.device": "device",
    "analysis.static.enabled": "pipeline.static_analysis.enable",
    "analysis.static.write_reports": "pipeline.static_analysis.write_reports",
    "runners.analysis.static.use_synthetic_inputs": "pipeline.static_analysis.use_synthetic_inputs",
    "torch_profiler.activities": "pipeline.torch_profiler.activities",
    "pipeline.ncu.nvtx_include": "pipeline.ncu.ncu_cli.nvtx.include",
    "pipeline.ncu.set": "pipeline.ncu.ncu_cli.set",
    "pipeline.ncu.metrics": "pipeline.ncu.ncu_cli.metrics",
    "pipeline.ncu.sections": "pipeline.ncu.ncu_cli.sections",
}
ALL_EXTRA = "pipeline.torch_profiler.output.extra.deepseek_ocr.visualization.max_images"


def value_at(config: Config, path: str) -> object:
    value: Any = config
    for part in path.split("."):
        value = getattr(value, part)
    return value


def loaded(tmp_path: Path, text: str = "", *overrides: str, **environ: str) -> Config:
    file = tmp_path / "my.yaml"
    file.write_text(text, encoding="utf-8")
    return load_config(file, overrides, environ=environ, cwd=tmp_path).config


def refused(tmp_path: Path, text: str, *overrides: str, **environ: str) -> str:
    """The whole answer to a configuration that is refused."""
    with pytest.raises(InvalidConfig) as caught:
        loaded(tmp_path, text, *overrides, **environ)
    return f"{caught.value}\n{caught.value.remedy}"


# 2.1 Keys


def test_the_keys_are_those_of_the_specification() -> None:
    assert list(all_settings()) == list(DEFAULTS)


@pytest.mark.parametrize("key", DEFAULTS)
def test_the_default_of(key: str) -> None:
    assert value_at(Config(), key) == DEFAULTS[key]


@pytest.mark.parametrize("key", CHOICES)
def test_the_choices_of(key: str) -> None:
    field = field_at(key.split("."))
    assert field is not None
    assert tuple(choices(field.annotation)) == CHOICES[key]


@pytest.mark.parametrize("family", ["deepseek_ocr", "deepseek_ocr2", "demo", "causal_lm"])
def test_extra_accepts_every_registered_family_used_or_not(family: str, tmp_path: Path) -> None:
    config = loaded(tmp_path, "", f"model.name={family}", f"{ALL_EXTRA}=3")
    assert value_at(config, ALL_EXTRA) == 3


def test_extra_of_a_family_nobody_registered(tmp_path: Path) -> None:
    assert "deepseek_ocr" in refused(tmp_path, "", "pipeline.torch_profiler.output.extra.deepsek_ocr.x=3")


def test_enabled_is_an_alias_rewritten_layer_by_layer(tmp_path: Path) -> None:
    weaker = "pipeline: {torch_profiler: {enable: true}}"
    assert not loaded(tmp_path, weaker, "pipeline.torch_profiler.enabled=false").pipeline.torch_profiler.enable
    refused(tmp_path, "pipeline: {torch_profiler: {enable: true, enabled: true}}")


# 2.2 Rules


@pytest.mark.parametrize("old", REMEDIES)
def test_the_remedy_of(old: str) -> None:
    assert MOVED[old] == REMEDIES[old]


def test_what_is_gone_says_so(tmp_path: Path) -> None:
    assert "remove it" in REMOVED["run.mode"]
    assert "artifacts." in refused(tmp_path, "hydra: {run: {dir: x}}\n")
    assert "relative paths" in refused(tmp_path, "experiment: ${oc.env:HOME}\n")


def test_an_unknown_key_has_place_path_nearest_and_siblings(tmp_path: Path) -> None:
    answer = refused(tmp_path, "run:\n  devise: cpu\ninfer:\n  max_new_token: 3\n")
    assert "my.yaml:2:3" in answer
    assert "my.yaml:4:3: infer.max_new_token: unknown key" in answer
    assert "did you mean infer.max_new_tokens? Keys of infer: max_new_tokens, temperature" in answer


@pytest.mark.parametrize("value", ["inf", "2.5", "true", '"8"', "0", "-1", "null"])
def test_max_new_tokens_is_a_strict_integer(value: str, tmp_path: Path) -> None:
    answer = refused(tmp_path, f"infer: {{max_new_tokens: {value}}}\n")
    if value not in ("0", "-1", "null"):
        assert "large integer" in answer
        assert "end-of-sequence" in answer


@pytest.mark.parametrize("capture", ["null", '""', '"  "'])
@pytest.mark.parametrize("enable", ["true", "false"])
def test_an_nvtx_trigger_needs_a_range_whether_or_not_the_stage_is_enabled(
    enable: str, capture: str, tmp_path: Path
) -> None:
    nsys = f"enable: {enable}, capture_range: nvtx, nvtx_capture: {capture}"
    assert "nvtx_capture" in refused(tmp_path, f"pipeline: {{nsys: {{{nsys}}}}}\n")
    loaded(tmp_path, f"pipeline: {{nsys: {{{nsys}, gating_nvtx: false}}}}\n")


@pytest.mark.parametrize("capture", ["decode", "decode@mine", "decode@*"])
def test_nvtx_capture_is_one_expression(capture: str, tmp_path: Path) -> None:
    key = "pipeline.nsys.nvtx_capture"
    assert value_at(loaded(tmp_path, "", f"{key}={capture}"), key) == capture
    refused(tmp_path, "", f"{key}=a@b@{capture}")


@pytest.mark.parametrize(
    "end", ["none", "stop", "stop-shutdown", "repeat", "repeat:3", "repeat:3:sync", "repeat:defer"]
)
def test_capture_range_end(end: str, tmp_path: Path) -> None:
    assert loaded(tmp_path, "", f"pipeline.nsys.capture_range_end={end}").pipeline.nsys.capture_range_end == end


@pytest.mark.parametrize("end", ["repeat-shutdown:2", "repeat-shutdown:2:async"])
def test_repeat_shutdown_takes_a_number(end: str, tmp_path: Path) -> None:
    assert loaded(tmp_path, "", f"pipeline.nsys.capture_range_end={end}").pipeline.nsys.capture_range_end == end
    refused(tmp_path, "", "pipeline.nsys.capture_range_end=repeat-shutdown")


def test_relative_paths_start_where_llmperf_was_started(tmp_path: Path) -> None:
    text = "model: {path: m}\ndataset: {root: pages, subset_filelist: list.txt}\n"
    config = loaded(tmp_path, text)
    found = (config.model.path, config.dataset.root, config.dataset.subset_filelist)
    assert found == (str(tmp_path / "m"), str(tmp_path / "pages"), str(tmp_path / "list.txt"))


def test_building_is_pure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket and no environment write; tests/integration/test_config_cli.py sees that torch is not imported."""

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("building a configuration must not do this")

    with monkeypatch.context() as patched:
        patched.setattr(socket, "socket", forbidden)
        patched.setattr(os, "putenv", forbidden)
        patched.setattr(os, "unsetenv", forbidden)
        loaded(tmp_path, "device: cuda:3\nmodel: {name: causal_lm, path: not/there}\n")


# 2.3 Composition and precedence


def test_the_example_of_the_specification_composes(tmp_path: Path) -> None:
    text = """
defaults:
  - dataset: omnidocbench
  - dataset/sampling@dataset.sampling: default
  - model/deepseek_ocr/arch@model: deepseek_ocr.default
  - model/deepseek_ocr/infer@infer: deepseek_ocr.default
  - profiling/torch@pipeline.torch_profiler: torch-profiler.default
  - output/torch@pipeline.torch_profiler.output: default
  - model/deepseek_ocr/output/torch@pipeline.torch_profiler.output.extra.deepseek_ocr: default
  - profiling/nsys@pipeline.nsys: nsys.default
  - profiling/ncu@pipeline.ncu: ncu.default
  - _self_
"""
    config = loaded(tmp_path, text)
    assert (config.model.name, config.dataset.name) == ("deepseek_ocr", "omnidocbench")


def test_each_layer_is_stronger_than_the_one_before(tmp_path: Path) -> None:
    layers: list[tuple[str, tuple[str, ...], dict[str, str], dict[str, object]]] = [
        ("defaults: [_self_]\n", (), {}, {}),
        ("defaults: [{model/demo/infer@infer: demo.default}]\n", (), {}, {}),
        ("defaults: [{model/demo/infer@infer: demo.default}]\ninfer: {max_new_tokens: 2}\n", (), {}, {}),
        ("infer: {max_new_tokens: 2}\n", (), {"LLMPERF_INFER__MAX_NEW_TOKENS": "3"}, {}),
        ("infer: {max_new_tokens: 2}\n", ("infer.max_new_tokens=4",), {"LLMPERF_INFER__MAX_NEW_TOKENS": "3"}, {}),
        (
            "infer: {max_new_tokens: 2}\n",
            ("infer.max_new_tokens=4",),
            {"LLMPERF_INFER__MAX_NEW_TOKENS": "3"},
            {"infer.max_new_tokens": 5},
        ),
    ]
    found = []
    for text, overrides, environ, options in layers:
        file = tmp_path / "my.yaml"
        file.write_text(text, encoding="utf-8")
        config = load_config(file, overrides, environ=environ, options=options, cwd=tmp_path).config
        found.append(config.infer.max_new_tokens)
    assert found == [64, 32, 2, 3, 4, 5]


def test_maps_merge_lists_replace_null_assigns(tmp_path: Path) -> None:
    text = (
        "defaults: [{profiling/ncu@pipeline.ncu: ncu.default}]\npipeline: {ncu: {ncu_cli: {sections: [Occupancy]}}}\n"
    )
    cli = loaded(tmp_path, text, "pipeline.ncu.ncu_cli.metrics=null").pipeline.ncu.ncu_cli
    assert (cli.set, cli.sections, cli.metrics) == ("roofline", ("Occupancy",), None)


@pytest.mark.parametrize("variable", ["LLMPERF_NSYS", "LLMPERF_NCU", "LLMPERF_SHARED", "LLMPERF_DEBUG"])
def test_reserved_variables_are_no_settings(variable: str, tmp_path: Path) -> None:
    assert loaded(tmp_path, "", **{variable: "x"}) == loaded(tmp_path)


def test_an_unknown_variable_is_an_error(tmp_path: Path) -> None:
    assert "LLMPERF_INFER__SEEED" in refused(tmp_path, "", LLMPERF_INFER__SEEED="3")


def test_a_group_override_replaces_its_entry_or_is_appended(tmp_path: Path) -> None:
    listed = "defaults: [{profiling/ncu@pipeline.ncu: ncu.default}]\n"
    for text in (listed, "defaults: []\n"):
        found = loaded(tmp_path, text, "profiling/ncu@pipeline.ncu=ncu.high").pipeline.ncu.ncu_cli.sections
        assert found is not None
        assert "ComputeWorkloadAnalysis" in found


def test_user_directories_come_before_the_shipped_ones(tmp_path: Path) -> None:
    for name, prompt in (("one", "first"), ("two", "second")):
        (tmp_path / name / "dataset").mkdir(parents=True)
        (tmp_path / name / "dataset" / "demo_pages.yaml").write_text(f"prompt: {prompt}\n", encoding="utf-8")
    environ = {"LLMPERF_CONFIG_DIR": str(tmp_path / "two")}
    for dirs, expected in (((), "second"), ((tmp_path / "one",), "first")):
        config = load_config(None, (), environ=environ, config_dirs=dirs, cwd=tmp_path).config
        assert config.dataset.prompt == expected


@pytest.mark.parametrize("text", ["defaults: [{dataset: '*'}]\n", "experiment: ${a}\n"])
def test_look_up_is_literal(text: str, tmp_path: Path) -> None:
    refused(tmp_path, text)
