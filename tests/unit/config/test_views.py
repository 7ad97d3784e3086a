"""What is said about a configuration: origins, JSON, the schema for editors, the starter, the pages."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from llm_perf_opt.config.describe import descriptions
from llm_perf_opt.config.dump import to_dict, to_yaml
from llm_perf_opt.config.json_schema import config_schema
from llm_perf_opt.config.keys import all_settings
from llm_perf_opt.config.load import compose_text, load_config
from llm_perf_opt.config.presets import presets
from llm_perf_opt.config.show import as_text
from llm_perf_opt.config.starter import models, stage_words, starter

REPOSITORY = Path(__file__).parents[3]
PAGES = REPOSITORY / "docs" / "configuration"
SHIPPED = presets((), {})


def test_origins_name_every_layer(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("experiment: x\ninfer:\n  batch_size: 2\n  seed: 1\n", encoding="utf-8")
    loaded = load_config(
        file,
        ["infer.seed=2", "profiling/ncu@pipeline.ncu=ncu.high"],
        options={"pipeline.nsys.enable": True},
        environ={"LLMPERF_DEVICE": "cpu"},
    )
    origins = {name: str(origin) for name, origin in loaded.origins.items()}
    assert set(origins) == set(all_settings()) - {"pipeline.plugins"}
    assert origins["use_flash_attn"] == "default"
    assert origins["model.name"] == "preset configs/model/demo/arch/demo.default.yaml:3"
    assert origins["pipeline.ncu.ncu_cli.sections"].startswith("preset configs/profiling/ncu/ncu.high.yaml:")
    assert origins["infer.batch_size"] == f"config {file}:3"
    assert origins["device"] == "environment LLMPERF_DEVICE"
    assert origins["infer.seed"] == "override infer.seed=2"
    assert origins["pipeline.nsys.enable"] == "option pipeline.nsys.enable"


def test_origin_of_a_whole_section_set_at_once() -> None:
    loaded = load_config(overrides=["model.preprocess={enable: false}"], environ={})
    assert str(loaded.origins["model.preprocess.enable"]) == "override model.preprocess={enable: false}"
    assert loaded.config.model.preprocess.base_size == 1024  # maps merge


def test_show_with_origins_says_both_for_every_setting() -> None:
    loaded = load_config(environ={})
    lines = as_text(loaded, origins=True).splitlines()
    assert len(lines) == len(loaded.origins)
    assert all("  # " in line for line in lines)


def test_show_as_json() -> None:
    loaded = load_config(environ={})
    assert json.loads(as_text(loaded, json=True)) == to_dict(loaded.config)
    both = json.loads(as_text(loaded, json=True, origins=True))
    assert both["config"] == to_dict(loaded.config)
    assert both["origins"]["model.name"]["line"] == 3


def test_show_assigns_everything() -> None:
    config = load_config(environ={}).config
    assert compose_text(to_yaml(config), "shown.yaml", SHIPPED) == config
    shown = yaml.safe_load(to_yaml(config))
    for name in all_settings():
        value = shown
        for part in name.split("."):
            assert part in value
            value = value[part]


def test_every_setting_is_described() -> None:
    found = descriptions()
    assert {item.name for item in found if not item.is_section} == set(all_settings())
    for item in found:
        assert item.text.endswith("."), item.name


def test_the_schema_knows_every_key_and_default() -> None:
    schema = config_schema()
    definitions = schema["$defs"]
    assert schema["additionalProperties"] is False
    for item in descriptions():
        node = schema
        for part in item.path:
            node = node["properties"][part]
            if "$ref" in node:
                node = {**definitions[node["$ref"].rpartition("/")[2]], "description": node["description"]}
        assert node["description"] == item.text
        if not item.is_section:
            assert node["default"] == item.default
    assert definitions["Nsys"]["properties"]["capture_range"]["enum"] == ["none", "nvtx", "cudaProfilerApi", "hotkey"]
    assert {"defaults", "experiment"} <= set(schema["properties"])
    assert definitions["TorchProfiler"]["properties"]["enabled"]["deprecated"] is True


@pytest.mark.parametrize("model", models(SHIPPED))
@pytest.mark.parametrize("stages", [(), ("static", "torch"), tuple(stage_words())])
def test_starters_are_valid_and_enable_what_was_chosen(model: str, stages: tuple[str, ...]) -> None:
    config = compose_text(starter(model, stages, SHIPPED), "start.yaml", SHIPPED)
    assert config.model.name == model
    enabled = {name for name, section in stage_words().items() if getattr(config.pipeline, section).enable}
    assert enabled == set(stages)


def test_a_starter_is_still_valid_with_its_suggestions_taken() -> None:
    text = starter("causal_lm", ("static",), SHIPPED)
    start = text.index("# infer:")
    end = text.index("\npipeline:")
    taken = "\n".join(line.removeprefix("# ") for line in text[start:end].splitlines())
    compose_text(text[:start] + taken + text[end:], "start.yaml", SHIPPED)


# Pages


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_configuration_pages", PAGES / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = _generator()


@pytest.mark.parametrize("page", GENERATOR.PAGES, ids=lambda page: page.name)
def test_pages_are_equal_to_the_code(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert GENERATOR.refreshed(text) == text, "run: uv run python docs/configuration/generate.py"


def test_the_committed_schema_is_equal_to_the_code() -> None:
    assert GENERATOR.SCHEMA.read_text(encoding="utf-8") == GENERATOR.schema_text()


def test_every_config_command_has_a_page() -> None:
    from llm_perf_opt.cli.config import app

    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES.glob("*.md"))
    for info in app.registered_commands:
        assert info.callback is not None
        assert f"<!-- generated: help: config {info.callback.__name__} -->" in pages


def test_every_exit_code_is_on_the_page() -> None:
    from llm_perf_opt import errors

    page = (PAGES / "exit-codes.md").read_text(encoding="utf-8")
    codes = {value.exit_code for value in vars(errors).values() if hasattr(value, "exit_code")}
    for code in codes | {0, 130}:
        assert f"| {code} |" in page
