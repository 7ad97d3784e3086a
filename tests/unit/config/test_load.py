"""Composition and precedence: which layer wins, and what a path becomes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llm_perf_opt.config.dump import to_dict, to_yaml
from llm_perf_opt.config.load import Loaded, load_config
from llm_perf_opt.config.problems import InvalidConfig
from llm_perf_opt.config.schema import Config, Model
from llm_perf_opt.errors import MissingError


def load(tmp_path: Path, text: str, *overrides: str, **environ: str) -> Loaded:
    file = tmp_path / "my.yaml"
    file.write_text(text, encoding="utf-8")
    return load_config(file, overrides, environ=environ, cwd=tmp_path)


def test_no_file_is_the_demo(tmp_path: Path) -> None:
    config = load_config(environ={}, cwd=tmp_path).config
    assert (config.model.name, config.model.weights, config.dataset.name) == ("demo", "random", "demo_pages")
    assert config.artifacts.runs_dir == str(tmp_path / "tmp/profile-output")


def test_file_without_defaults_is_laid_over_the_entry(tmp_path: Path) -> None:
    config = load(tmp_path, "infer: {max_new_tokens: 5}\n").config
    assert (config.infer.max_new_tokens, config.model.name) == (5, "demo")


def test_file_with_defaults_composes_only_what_it_lists(tmp_path: Path) -> None:
    config = load(tmp_path, "defaults:\n  - profiling/ncu@pipeline.ncu: ncu.high\n").config
    assert config.pipeline.ncu.ncu_cli.sections is not None
    assert "WarpStateStats" in config.pipeline.ncu.ncu_cli.sections
    assert config.infer.max_new_tokens == 64  # the schema's, not the demo's


def test_self_first_makes_presets_stronger(tmp_path: Path) -> None:
    listed = "profiling/torch@pipeline.torch_profiler: torch-profiler.min"
    own = "pipeline: {torch_profiler: {warmup_rounds: 7}}\n"
    assert load(tmp_path, f"defaults: [_self_, {listed}]\n{own}").config.pipeline.torch_profiler.warmup_rounds == 1
    assert load(tmp_path, f"defaults: [{listed}]\n{own}").config.pipeline.torch_profiler.warmup_rounds == 7


def test_precedence_from_file_to_option(tmp_path: Path) -> None:
    text = "infer: {max_new_tokens: 2}\n"
    assert load(tmp_path, text).config.infer.max_new_tokens == 2
    environ = {"LLMPERF_INFER__MAX_NEW_TOKENS": "3"}
    assert load(tmp_path, text, **environ).config.infer.max_new_tokens == 3
    assert load(tmp_path, text, "infer.max_new_tokens=4", **environ).config.infer.max_new_tokens == 4
    both = load_config(overrides=["infer.max_new_tokens=4"], options={"infer.max_new_tokens": 5}, environ=environ)
    assert both.config.infer.max_new_tokens == 5


def test_group_override_replaces_or_is_appended(tmp_path: Path) -> None:
    config = load(tmp_path, "experiment: x\n", "profiling/torch@pipeline.torch_profiler=torch-profiler.min").config
    assert config.pipeline.torch_profiler.activities == ("cpu",)
    config = load(tmp_path, "experiment: x\n", "model/causal_lm/arch@model=causal_lm.default").config
    assert (config.model.name, config.model.weights, config.model.preprocess.enable) == (
        "causal_lm",
        "auto",
        False,
    )
    assert load(tmp_path, "experiment: x\n", "dataset=omnidocbench").config.dataset.name == "omnidocbench"


def test_maps_merge_lists_replace_null_assigns(tmp_path: Path) -> None:
    config = load(tmp_path, "pipeline: {ncu: {ncu_cli: {sections: [Occupancy], metrics: null}}}\n").config
    assert config.pipeline.ncu.ncu_cli.sections == ("Occupancy",)
    assert config.pipeline.ncu.ncu_cli.metrics is None
    assert config.pipeline.ncu.ncu_cli.set == "roofline"


def test_paths_are_absolute(tmp_path: Path) -> None:
    text = "model: {path: models/a}\ndataset: {root: pages, subset_filelist: /x/list.txt}\n"
    config = load(tmp_path, text).config
    assert config.model.path == str(tmp_path / "models/a")
    assert config.dataset.root == str(tmp_path / "pages")
    assert config.dataset.subset_filelist == "/x/list.txt"


def test_home_directories_are_expanded(tmp_path: Path) -> None:
    config = load(tmp_path, "model: {path: ~/m}\ndataset: {root: ~nobody-by-this-name/x}\n").config
    assert config.model.path == str(Path("~/m").expanduser())
    assert config.dataset.root == str(tmp_path / "~nobody-by-this-name/x")


def test_yaml_loads_back_to_the_same(tmp_path: Path) -> None:
    config = load(tmp_path, "experiment: 'on'\nmodel: {path: m}\npipeline: {ncu: {ncu_cli: {set: null}}}\n").config
    assert load(tmp_path, to_yaml(config)).config == config


def test_values_sent_to_a_child_are_the_same_there(tmp_path: Path) -> None:
    config = load(tmp_path, "pipeline: {ncu: {ncu_cli: {nvtx: {include: [a, b]}}}}\n").config
    assert Config.model_validate(json.loads(json.dumps(to_dict(config)))) == config


def test_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such file"):
        load_config(tmp_path / "none.yaml", environ={})


def test_every_mistake_is_reported_in_file_order(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig) as caught:
        load(tmp_path, "experiment: 3\ninfer:\n  max_new_tokens: inf\nrun:\n  repeats: 3\n")
    problems = caught.value.problems
    assert [(p.line, p.path) for p in problems] == [
        (1, "experiment"),
        (3, "infer.max_new_tokens"),
        (5, "run.repeats"),
    ]
    assert "measure.repeats" in problems[2].remedy


def test_a_model_leaves_out_what_the_entry_file_lists_for_the_demo(tmp_path: Path) -> None:
    model = tmp_path / "m"
    model.mkdir()
    file = tmp_path / "my.yaml"
    file.write_text("model: {path: m}\n", encoding="utf-8")
    for found in (
        load_config(model, environ={}, cwd=tmp_path),
        load_config(None, ["model.path=m"], environ={}, cwd=tmp_path),
        load_config(None, environ={"LLMPERF_MODEL__PATH": "m"}, cwd=tmp_path),
        load_config(file, environ={}, cwd=tmp_path),
    ):
        config = found.config
        assert config.model.path == str(model)
        assert (config.model.name, config.model.weights, config.model.dtype) == ("auto", "auto", "auto")
        assert (config.dataset.name, config.infer.max_new_tokens, config.model.preprocess.enable) == (None, 64, False)
        assert config.pipeline.ncu.ncu_cli.set == "roofline"  # what is no one's alone stays


@pytest.mark.parametrize("name", ["m.gguf", "config.json"])
def test_a_file_of_a_model_is_one(name: str, tmp_path: Path) -> None:
    assert load_config(Path(name), environ={}, cwd=tmp_path).config.model.path == str(tmp_path / name)


def test_a_preset_of_the_demo_that_was_asked_for_stays(tmp_path: Path) -> None:
    chosen = ["model.path=m", "model/demo/infer@infer=demo.default", "dataset=demo_pages"]
    config = load_config(None, chosen, environ={}, cwd=tmp_path).config
    assert (config.infer.max_new_tokens, config.dataset.name, config.model.weights) == (32, "demo_pages", "auto")


def test_another_model_without_a_path_keeps_the_pages_of_the_demo_and_nothing_of_its_model(tmp_path: Path) -> None:
    other = "model: {name: dummy_shallow_resnet}\n"
    for found in (load(tmp_path, other), load(tmp_path, "", "model.name=dummy_shallow_resnet")):
        assert (found.config.dataset.name, found.config.infer.max_new_tokens) == ("demo_pages", 64)
        assert found.config.model == Model(name="dummy_shallow_resnet")
    again = load(tmp_path, other, "model.name=demo").config
    assert (again.model.dtype, again.infer.max_new_tokens) == ("float32", 32)


def test_a_path_that_is_taken_away_again_is_the_demo(tmp_path: Path) -> None:
    assert load(tmp_path, "model: {path: null}\n").config.model.name == "demo"


@pytest.mark.parametrize("size", ["0x3", "3", "3x", "x3", "3 x 3", "-3x3"])
def test_an_image_is_a_size(size: str) -> None:
    with pytest.raises(InvalidConfig):
        load_config(None, [f"dataset.synthetic.images=[{size}]"], environ={})
