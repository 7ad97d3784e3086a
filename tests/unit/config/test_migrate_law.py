"""The law of migration: every leaf of an old file is in the new configuration with its meaning, or in the list."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_perf_opt.config.emit import flow
from llm_perf_opt.config.load import compose_text
from llm_perf_opt.config.migrate import Migrated, migrate
from llm_perf_opt.config.presets import Presets, presets, shipped_dir
from llm_perf_opt.config.remedies import MOVED, OUTPUTS
from llm_perf_opt.config.schema import Config

SHIPPED = presets((), {})
FLAT = {"repeats": "measure.repeats", "max_new_tokens": "infer.max_new_tokens", "infer.dtype": "model.dtype"}


@pytest.fixture
def cases(shared_data: Path) -> Path:
    """Files of the earlier system."""
    folder = shared_data.parent / "cases" / "config"
    if not folder.is_dir():
        pytest.skip(f"no files of the earlier system at {folder}")
    return folder


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted path and value of every leaf, as the law counts them."""
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from leaves(below, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value:
        for number, below in enumerate(value):
            yield from leaves(below, f"{path}[{number}]")
    else:
        yield path, value


def lost(old: dict[str, Any], result: Migrated, config: Config | None, section: str = "") -> list[str]:
    """Leaves that are neither in the list, nor said to have changed, nor in the configuration under their new name."""
    listed = {left.name for left in result.left}
    said = [line.removeprefix("defaults: ") for line in result.changes]
    new_text = yaml.safe_load(result.text) or {}
    written = {str(entry) for entry in new_text.get("defaults", [])} if isinstance(new_text, dict) else set()
    missing = []
    for name, value in leaves(old):
        if name in listed:
            continue
        if name.startswith("defaults"):
            entry = name.partition("].")[2]
            if any(line.startswith(f"{entry}: {flow(value)}") for line in said):
                continue
            if str({entry: value}) in written or value == "_self_":
                continue
            missing.append(name)
            continue
        whole = name.partition("[")[0]
        if any(line.startswith((f"{whole}:", f"{whole} →")) for line in said):
            continue
        if value == {} and dict(leaves(new_text)).get(name) == {}:
            continue
        if config is None or _value(config, f"{section}{name}") != value:
            missing.append(name)
    return missing


def _value(config: Config, name: str) -> Any:
    """The value of a setting that has not moved, or of an item of a list."""
    found: Any = config
    for part in name.replace("]", "").replace("[", ".").split("."):
        if isinstance(found, tuple):
            found = found[int(part)]
        elif not hasattr(found, part):
            return KeyError
        else:
            found = getattr(found, part)
    return list(found) if isinstance(found, tuple) else found


MOUNTS = {
    "dataset": "dataset",
    "dataset/sampling": "dataset.sampling",
    "model/deepseek_ocr/arch": "model",
    "model/deepseek_ocr/infer": "infer",
    "model/deepseek_ocr/output/direct": "pipeline.direct_inference.output.extra.deepseek_ocr",
    "model/deepseek_ocr/output/torch": "pipeline.torch_profiler.output.extra.deepseek_ocr",
    "model/dummy_shallow_resnet/arch": "model",
    "model/dummy_shallow_resnet/infer": "infer",
    "output/direct": "pipeline.direct_inference.output",
    "output/torch": "pipeline.torch_profiler.output",
    "profiling/ncu": "pipeline.ncu",
    "profiling/nsys": "pipeline.nsys",
    "profiling/torch": "pipeline.torch_profiler",
}


def mounted(text: str, section: str) -> str:
    """A configuration that holds nothing but a preset's keys."""
    values: Any = yaml.safe_load(text)
    for part in reversed(section.split(".")):
        values = {part: values}
    return str(yaml.safe_dump(values))


def test_every_leaf_of_the_earlier_tree_is_carried_over_or_listed(cases: Path) -> None:
    tree = cases / "earlier"
    files = sorted(path for path in tree.rglob("*.yaml") if path.name != "config.yaml")
    assert len(files) == 21
    for path in files:
        text = path.read_text(encoding="utf-8")
        section = MOUNTS[path.parent.relative_to(tree).as_posix()]
        result = migrate(text, str(path), SHIPPED)
        config = compose_text(mounted(result.text, section), "new.yaml", SHIPPED)
        assert lost(yaml.safe_load(text), result, config, f"{section}.") == [], path
        assert migrate(result.text, str(path), SHIPPED) == Migrated(result.text), path


@pytest.mark.parametrize(
    "name", ["earlier/config.yaml", "old_first_config.yaml", "old_stage2.yaml", "mm.yaml", "slash.yaml", "fast.yaml"]
)
def test_every_leaf_of_a_configuration_is_carried_over_or_listed(cases: Path, name: str) -> None:
    path = cases / name
    text = path.read_text(encoding="utf-8")
    result = migrate(text, str(path), SHIPPED)
    assert lost(yaml.safe_load(text), result, compose_text(result.text, "new.yaml", SHIPPED)) == []


LISTED = {
    "earlier/config.yaml": ["hydra.output_subdir", "hydra.job.chdir"],
    "old_first_config.yaml": ["hydra.output_subdir", "hydra.job.chdir"],
    "old_stage2.yaml": [
        "run.mode",
        "run.top_n_kernels",
        "hydra.output_subdir",
        "hydra.job.chdir",
        "stage1_runner.disable_static",
    ],
    "mm.yaml": ["dataset.root", "use_flash_attn", "pipeline.nsys.capture_range"],
    "slash.yaml": ["defaults[3]"],
    "earlier/model/deepseek_ocr/infer/deepseek_ocr.fast.yaml": ["decoder_prompt"],
    "earlier/model/dummy_shallow_resnet/arch/dummy_shallow_resnet.default.yaml": ["preprocess.normalize"],
    "earlier/model/dummy_shallow_resnet/infer/dummy_shallow_resnet.default.yaml": ["dtype", "device"],
    "earlier/profiling/ncu/ncu.high.yaml": [],
    "old_preset_ncu.rtx3090.yaml": [],
}
"""What has no place now, of each file."""


@pytest.mark.parametrize("name", LISTED)
def test_what_is_listed(cases: Path, name: str) -> None:
    path = cases / name
    result = migrate(path.read_text(encoding="utf-8"), str(path), SHIPPED)
    assert [left.name for left in result.left] == LISTED[name]


VALUES: dict[str, dict[str, Any]] = {
    "earlier/config.yaml": {
        "device": "cuda:0",
        "artifacts.runs_dir": "tmp/profile-output",
        "pipeline.torch_profiler.enable": True,
        "model.path": "models/deepseek-ocr",
        "dataset.root": "datasets/omnidocbench/source-data",
        "dataset.fallback_patterns": ["images/*.png", "images/*.jpg"],
        "dataset.prompt": "<image>\n<|grounding|>Convert the document to markdown.",
        "infer.context_len_fixed": 1024,
        "pipeline.nsys.nvtx_capture": "prefill",
        "pipeline.ncu.ncu_cli.replay_mode": "kernel",
    },
    "old_first_config.yaml": {
        "model.name": "deepseek_ocr",
        "measure.repeats": 3,
        "infer.max_new_tokens": 64,
        "artifacts.runs_dir": "tmp/stage1",
        "pipeline.torch_profiler.output.prediction.enable": False,
    },
    "old_stage2.yaml": {
        "pipeline.torch_profiler.activities": ["cpu"],
        "dataset.sampling.num_samples_per_epoch": 1,
        "device": "cuda:0",
        "artifacts.runs_dir": "tmp/stage2",
        "pipeline.nsys.gating_nvtx": True,
        "pipeline.ncu.gating_nvtx": True,
    },
    "mm.yaml": {
        "infer.no_repeat_ngram_size": None,
        "infer.max_new_tokens": 8192,
        "dataset.prompt": "<image>\nFree OCR.",
        "model.dtype": "bfloat16",
        "model.path": "models/deepseek-ocr",
        "pipeline.nsys.enable": True,
    },
    "slash.yaml": {
        "pipeline.torch_profiler.activities": ["cpu"],
        "pipeline.ncu.ncu_cli.replay_mode": "kernel",
        "dataset.name": "demo_pages",
    },
}


@pytest.mark.parametrize("name", VALUES)
def test_the_meaning_is_the_same(cases: Path, name: str) -> None:
    path = cases / name
    config = compose_text(migrate(path.read_text(encoding="utf-8"), str(path), SHIPPED).text, "new.yaml", SHIPPED)
    assert {key: _value(config, key) for key in VALUES[name]} == VALUES[name]


def test_of_a_list_the_wrong_items_are_listed_and_the_others_stay() -> None:
    result = migrate("torch_profiler: {activities: [npu, cpu, xpu]}\n", "old.yaml", SHIPPED)
    assert [left.name for left in result.left] == ["torch_profiler.activities[0]", "torch_profiler.activities[2]"]
    config = compose_text(result.text, "new.yaml", SHIPPED)
    assert _value(config, "pipeline.torch_profiler.activities") == ["cpu"]


def test_a_preset_becomes_a_preset(cases: Path, tmp_path: Path) -> None:
    path = cases / "old_preset_ncu.rtx3090.yaml"
    result = migrate(path.read_text(encoding="utf-8"), str(path), SHIPPED)
    assert not result.left
    folder = tmp_path / "profiling" / "ncu"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(result.text, encoding="utf-8")
    own = Presets((tmp_path, shipped_dir()))
    config = compose_text("defaults: [profiling/ncu@pipeline.ncu: mine]\n", "my.yaml", own)
    old = yaml.safe_load(path.read_text(encoding="utf-8"))["ncu_cli"]
    assert list(config.pipeline.ncu.ncu_cli.sections) == old["sections"]
    assert config.pipeline.ncu.ncu_cli.nvtx.include == "decode*"
    assert config.pipeline.ncu.ncu_cli.replay_mode == "kernel"


PRESETS = {
    "ncu_cli: {set: full}\ndescription: all\n": "ncu_cli: {set: full}",
    "nvtx_include: decode*\nmetrics: 'a,b'\n": "ncu_cli: {nvtx: {include: decode*}, metrics: [a, b]}",
    "enabled: true\nactivities: [cpu]\n": "{enable: true, activities: [cpu]}",
    "name: m\npath: /m\ndtype: fp16\n": "{name: m, path: /m, dtype: float16}",
    "trace: cuda\nnvtx_capture: decode\n": "{trace: cuda, nvtx_capture: decode}",
    "temperature: 0.5\ndo_sample: true\n": "{temperature: 0.5, do_sample: true}",
    "# @package pipeline.nsys\nsample: none\n": "{sample: none}",
    "prediction: {enable: true, save_dir: p}\n": "{prediction: {enable: true, save_dir: p}}",
}


@pytest.mark.parametrize("text", PRESETS)
def test_presets_are_known_by_their_keys(text: str) -> None:
    result = migrate(text, "somewhere.yaml", SHIPPED)
    assert yaml.safe_load(result.text) == yaml.safe_load(PRESETS[text])
    assert not result.left


SAME: dict[str, dict[str, Any]] = {
    "model: {dtype: fp16}": {"model.dtype": "float16"},
    "model: {dtype: torch.bfloat16}": {"model.dtype": "bfloat16"},
    "infer: {dtype: fp32}": {"model.dtype": "float32"},
    "infer: {no_repeat_ngram_size: 0}": {"infer.no_repeat_ngram_size": None},
    "infer: {max_new_tokens: .inf}": {"infer.max_new_tokens": 8192},
    "pipeline: {nsys: {capture_range_end: ''}}": {"pipeline.nsys.capture_range_end": None},
    "nsys: {enable: true, capture_range: nvtx, nvtx_capture: decode}": {"pipeline.nsys.capture_range": "nvtx"},
    "ncu: {nvtx_include: decode*, ncu_cli: {launch_count: 3}}": {
        "pipeline.ncu.ncu_cli.nvtx.include": "decode*",
        "pipeline.ncu.ncu_cli.launch_count": 3,
    },
    "pipeline.nsys.enable: true": {"pipeline.nsys.enable": True},
    "model: {path: '${oc.env:HOME}/m'}": {"model.path": "~/m"},
    "hydra: {run: {dir: 'outputs/${now:%Y-%m-%d}/${now:%H-%M-%S}'}}": {"artifacts.runs_dir": "outputs"},
    "infer: {max_new_tokens: '512', temperature: '0.5', do_sample: 'yes'}\nuse_flash_attn: 'off'": {
        "infer.max_new_tokens": 512,
        "infer.temperature": 0.5,
        "infer.do_sample": True,
        "use_flash_attn": False,
    },
    "experiment: 2026": {"experiment": "2026"},
    "base: /d\nmodel: {path: '${dataset.root}/m'}\ndataset: {root: /d}": {"model.path": "/d/m"},
    "experiment: ${model.name}": {"experiment": "demo"},
    "dataset: {root: d, subset_filelist: lists/a.txt}\nrepeats: 2": {"dataset.subset_filelist": "d/lists/a.txt"},
    "defaults:\n- optional /dataset: demo_pages\n- dataset/sampling@dataset.sampling: null\n": {
        "dataset.name": "demo_pages"
    },
    "defaults:\n- model: deepseek_ocr\n": {"model.name": "deepseek_ocr", "infer.no_repeat_ngram_size": 20},
}


@pytest.mark.parametrize("text", SAME)
def test_values_keep_their_meaning(text: str) -> None:
    result = migrate(text, "old.yaml", SHIPPED)
    config = compose_text(result.text, "new.yaml", SHIPPED)
    assert {key: _value(config, key) for key in SAME[text]} == SAME[text]
    assert [left.name for left in result.left] == (["base"] if text.startswith("base") else [])


NOT_KNOWN = {
    "experiment: run-${now:%Y}\n": (1, "experiment", "not interpolated"),
    "model:\n  path: ???\n": (2, "model.path", "to be given"),
    "artifacts: {runs_dir: '${now:%Y}/x'}\n": (1, "artifacts.runs_dir", "not interpolated"),
    "model: {revision: '${infer.x}', path: a}\ninfer: {x: '${model.revision}'}\n": (1, "model.revision", "itself"),
    "defaults:\n  - optional dataset: mine\n": (2, "defaults[0].optional dataset", "no such preset"),
    "pipeline: {torch_profiler: {activities: [npu, cpu, xpu, cuda]}}\n": (
        1,
        "pipeline.torch_profiler.activities[2]",
        "must be one of cpu, cuda",
    ),
    "pipeline: {nsys: {enable: true}}\npipeline.nsys.enable: false\npipeline.ncu.enable: true\n": (
        2,
        "pipeline.nsys.enable",
        "as sections too",
    ),
    "measure: {repeats: 1}\nrun: {repeats: true}\n": (2, "run.repeats", "already"),
    "pipeline: 3\nnsys: {enable: true}\n": (1, "pipeline", "mapping"),
    "pipeline: {torch_profiler: {enable: true, enabled: false}}\n": (1, "pipeline.torch_profiler.enabled", "already"),
    "defaults:\n- _self_\n- profiling/ncu@ncu: ncu.high\n": (3, "pipeline.ncu.ncu_cli.replay_mode", "_self_"),
    "pipeline:\n  torch_profiler:\n    output: {prediction: {save_dir: '${hydra:runtime.cwd}/p'}}\n": (
        3,
        "pipeline.torch_profiler.output.prediction.save_dir",
        "absolute path",
    ),
}


@pytest.mark.parametrize("text", NOT_KNOWN)
def test_what_cannot_be_known_is_listed_with_its_line(text: str) -> None:
    result = migrate(text, "old.yaml", SHIPPED)
    compose_text(result.text, "new.yaml", SHIPPED)
    line, name, reason = NOT_KNOWN[text]
    found = {left.name: left for left in result.left}
    assert found[name].line == line
    assert reason in found[name].reason


_KEYS = [*MOVED, *(f"outputs.{name}" for name in OUTPUTS), *FLAT, "run.mode", "hydra.job.chdir", "nsys.enable"]
_KEYS += ["ncu.set", "nonsense", "infer.beams", "experiment", "device", "pipeline.torch_profiler.enabled", "x.y.z"]
_KEYS += ["hydra.run.dir", "pipeline.nsys", "model.name", "infer.no_repeat_ngram_size", "dataset.fallback_patterns"]
_VALUES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([None, True, False, 0, 1, 7, "bf16", "cpu", "decode", "", "???"]),
    st.sampled_from([[], {}, {"": 30}, {"a": {"b": 1}}, ["a"], ["a", 1]]),
    st.sampled_from(
        ["${device}", "${hydra:runtime.cwd}/x", "${oc.env:A}", "${now:%Y}", "tmp/${now:%Y}", "${run.mode}"]
    ),
)


def _nested(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for name, value in pairs:
        *parents, last = name.split(".")
        below = document
        for part in parents:
            if not isinstance(below.setdefault(part, {}), dict):
                break
            below = below[part]
        else:
            below.setdefault(last, value)
    return document


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(_KEYS), _VALUES), min_size=1, max_size=6).map(_nested))
def test_no_leaf_of_a_random_old_document_is_lost(document: dict[str, Any]) -> None:
    result = migrate(yaml.safe_dump({"experiment": "e", **document}), "old.yaml", SHIPPED)
    config = compose_text(result.text, "new.yaml", SHIPPED)
    assert lost(document, result, config) == []
