"""Every shipped preset loads where it is meant to, and says what the specification says."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_perf_opt.config.catalogue import catalogue
from llm_perf_opt.config.load import load_config
from llm_perf_opt.config.presets import presets, usual_mount
from llm_perf_opt.config.problems import InvalidConfig
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import MissingError
from llm_perf_opt.stages.ncu.settings import Ncu, NcuCli
from llm_perf_opt.stages.nsys.settings import Nsys
from llm_perf_opt.stages.torch_profiler.settings import TorchProfiler

SHIPPED = presets((), {})
MODELS = ("deepseek_ocr", "deepseek_ocr2", "causal_lm", "image_text", "dummy_shallow_resnet", "demo")
EXPECTED = {
    "dataset": {"omnidocbench", "demo_pages"},
    "dataset/sampling": {"default", "random"},
    "output/torch": {"default"},
    "output/direct": {"default"},
    "profiling/torch": {"torch-profiler.min", "torch-profiler.default", "torch-profiler.max"},
    "profiling/nsys": {"nsys.default", "nsys.prefill", "nsys.decode"},
    "profiling/ncu": {
        *("ncu.default", "ncu.high", "ncu.rtx3090", "ncu.rtx3090.compute", "ncu.rtx3090.memory", "ncu.datacenter")
    },
    **{f"model/{name}/arch": {f"{name}.default"} for name in MODELS},
    **{f"model/{name}/infer": {f"{name}.default"} for name in MODELS},
    "model/deepseek_ocr/infer": {"deepseek_ocr.default", "deepseek_ocr.fast"},
    "model/deepseek_ocr/output/torch": {"default"},
    "model/deepseek_ocr/output/direct": {"default"},
}


def with_preset(group: str, option: str) -> Config:
    return load_config(overrides=[f"{group}@{usual_mount(group)}={option}"], environ={}).config


def test_the_shipped_presets_are_those_of_the_specification() -> None:
    assert {group: set(SHIPPED.options(group)) for group in SHIPPED.groups()} == EXPECTED


@pytest.mark.parametrize("preset", catalogue(SHIPPED), ids=lambda preset: f"{preset.group}={preset.option}")
def test_every_preset_loads_and_explains_itself(preset: object) -> None:
    group, option, text = preset.group, preset.option, preset.text  # type: ignore[attr-defined]
    with_preset(group, option)
    assert len(text) > 20


@pytest.mark.parametrize("name", MODELS)
def test_arch_presets_leave_nothing_of_the_demo_behind(name: str) -> None:
    alone = {**dict.fromkeys(("path", "revision"))}
    model = with_preset(f"model/{name}/arch", f"{name}.default").model
    assert model.name == name
    assert {key: getattr(model, key) for key in alone} == alone
    text = (SHIPPED.find(f"model/{name}/arch", f"{name}.default") or Path()).read_text(encoding="utf-8")
    for key in type(model).model_fields:
        assert f"{key}:" in text
    for key in type(model.preprocess).model_fields:
        assert f"  {key}:" in text


def test_torch_profiler_presets() -> None:
    def preset(name: str) -> TorchProfiler:
        return with_preset("profiling/torch", f"torch-profiler.{name}").pipeline.first(TorchProfiler)

    least, usual, most = preset("min"), preset("default"), preset("max")
    assert (least.activities, least.warmup_rounds, least.warmup_synthetic) == (("cpu",), 1, True)
    assert (usual.activities, usual.warmup_rounds, usual.warmup_synthetic) == (("cpu", "cuda"), 2, True)
    assert (most.activities, most.warmup_rounds, most.warmup_synthetic) == (("cpu", "cuda"), 3, False)
    assert most.record_shapes and most.profile_memory and most.with_stack and most.group_by_input_shape


def test_nsys_presets() -> None:
    assert with_preset("profiling/nsys", "nsys.default").pipeline.nsys == Nsys()
    for name in ("prefill", "decode"):
        nsys = with_preset("profiling/nsys", f"nsys.{name}").pipeline.nsys
        assert (nsys.capture_range, nsys.nvtx_capture, nsys.capture_range_end) == ("nvtx", name, "stop")


NCU_DEFAULT = ("SpeedOfLight", "MemoryWorkloadAnalysis", "Occupancy", "SchedulerStats")
NCU_3090 = {"SpeedOfLight", "Occupancy", "SchedulerStats", "WarpStateStats", "LaunchStats"}


def ncu(name: str) -> NcuCli:
    return with_preset("profiling/ncu", name).pipeline.first(Ncu).ncu_cli


def test_ncu_presets() -> None:
    default, high = ncu("ncu.default"), ncu("ncu.high")
    assert default.set == "roofline"
    assert default.sections == NCU_DEFAULT
    assert default.metrics == (
        "gpu__time_duration.sum",
        "sm__throughput.avg.pct_of_peak_sustained_elapsed",
        "dram__throughput.avg.pct_of_peak_sustained_elapsed",
        "dram__bytes_read.sum",
        "dram__bytes_write.sum",
    )
    added = {"ComputeWorkloadAnalysis", "WorkloadDistribution", "WarpStateStats", "LaunchStats", "InstructionStats"}
    assert set(high.sections or ()) == {*NCU_DEFAULT, *added}
    assert high.metrics == default.metrics


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("ncu.rtx3090", {"ComputeWorkloadAnalysis", "MemoryWorkloadAnalysis"}),
        ("ncu.rtx3090.compute", {"ComputeWorkloadAnalysis", "InstructionStats"}),
        ("ncu.rtx3090.memory", {"MemoryWorkloadAnalysis", "WorkloadDistribution"}),
    ],
)
def test_ncu_presets_of_the_rtx3090(name: str, more: set[str]) -> None:
    cli = ncu(name)
    assert set(cli.sections or ()) == NCU_3090 | more
    assert cli.metrics is None
    assert cli.nvtx.include == "decode*"


def test_user_directories_come_first(tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    for folder, tokens in ((own, 1), (other, 2)):
        (folder / "mine").mkdir(parents=True)
        (folder / "mine" / "short.yaml").write_text(f"max_new_tokens: {tokens}\n", encoding="utf-8")
    override = ["mine@infer=short"]
    environ = {"LLMPERF_CONFIG_DIR": str(other)}
    assert load_config(overrides=override, environ=environ).config.infer.max_new_tokens == 2
    both = load_config(overrides=override, environ=environ, config_dirs=[own])
    assert both.config.infer.max_new_tokens == 1
    assert str(both.origins["infer.max_new_tokens"]) == f"preset {own}/mine/short.yaml:1"


def test_a_missing_user_directory_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="--config-dir"):
        load_config(environ={}, config_dirs=[tmp_path / "none"])


BAD_ENTRIES = {
    "- profiling/ncu@pipeline.ncu: ncu.hihg": "did you mean ncu.high?",
    "- profilng/ncu@pipeline.ncu: ncu.high": "profiling/ncu",
    "- profiling/ncu@pipeline.nuc: ncu.high": "pipeline.ncu",
    "- profiling/ncu: ncu.high": "write profiling/ncu@pipeline.ncu: ncu.high",
    "- ../../etc@model: passwd": "group@mount",
    "- /dataset: demo_pages": "write dataset: demo_pages",
    "- dataset: '*'": "one entry for each preset",
    "- dataset: ${x}": "name out",
    "- dataset: [a, b]": "group@mount",
    "- dataset": "group@mount",
    "- {dataset: demo_pages, model: x}": "group@mount",
    "- _self_\n  - _self_": "keep one",
}


@pytest.mark.parametrize("entry", BAD_ENTRIES)
def test_bad_entries_are_answered_at_their_place(entry: str, tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(f"defaults:\n  {entry}\n", encoding="utf-8")
    with pytest.raises(InvalidConfig) as caught:
        load_config(file, environ={})
    problem = caught.value.problems[0]
    assert BAD_ENTRIES[entry] in problem.remedy
    assert problem.line in (2, 3)


def test_presets_do_not_nest(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "nested.yaml").write_text("defaults:\n  - dataset: demo_pages\n", encoding="utf-8")
    with pytest.raises(InvalidConfig, match="cannot list presets itself"):
        load_config(overrides=["mine@infer=nested"], environ={}, config_dirs=[tmp_path])


def test_a_mistake_in_a_preset_is_shown_in_the_preset(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "wrong.yaml").write_text("# mine\nmax_new_token: 3\n", encoding="utf-8")
    with pytest.raises(InvalidConfig) as caught:
        load_config(overrides=["mine@infer=wrong"], environ={}, config_dirs=[tmp_path])
    (problem,) = caught.value.problems
    assert problem.where == f"{tmp_path}/mine/wrong.yaml:2:1"
    assert problem.path == "infer.max_new_token"
