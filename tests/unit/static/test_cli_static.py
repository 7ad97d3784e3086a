"""`llmperf static`: what it prints and writes, and how it answers mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from llm_perf_opt.cli.static import app
from llm_perf_opt.errors import ConfigError, MissingError
from tests.unit.static.configs import DEEPSEEK_OCR, LLAMA_31_8B, QWEN25_VL_7B


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_31_8B))
    return str(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


def test_without_a_model_it_explains_itself() -> None:
    result = run()
    assert result.exit_code == 0
    assert "Usage" in result.output
    assert "llmperf static path/to/model" in result.output


def test_json(model: str) -> None:
    record = json.loads(run(model, "--json", "--attention-flops", "full", "--logits", "all").output)
    assert record["method"] == "analytic"
    assert record["phases"]["prefill"]["flops"] == 32_938_104_193_024
    sizes = json.loads(run(model, "--json", "--batch", "2", "--context", "7", "--gpu", "h200-sxm").output)
    assert sizes["phases"]["decode"]["tokens"] == 2
    assert sizes["request"]["context"] == 7
    assert sizes["gpus"][0]["name"] == "h200-sxm"


def test_a_config_file_and_images(tmp_path: Path) -> None:
    file = tmp_path / "vl.json"
    file.write_text(json.dumps(QWEN25_VL_7B))
    result = run(str(file), "--image", "896x896", "--image", "28x56", "--prompt-tokens", "10")
    assert "vision (in prefill)" in result.output


def test_the_demo_preset_by_name() -> None:
    record = json.loads(run("demo", "--json").output)
    assert record["model"]["model_type"] == "deepseek_ocr2"


@pytest.mark.parametrize(
    ("preprocess", "views", "tokens"),
    [
        ({"base_size": 1024, "image_size": 640, "crop_mode": True}, [[1024, 1024], *[[640, 640]] * 6], 903),
        ({"base_size": 640, "image_size": 640, "crop_mode": False}, [[640, 640]], 111),
        ({"base_size": 512, "image_size": 512, "crop_mode": False}, [[512, 512]], 73),
    ],
    ids=["Gundam", "Small", "Tiny"],
)
def test_a_configuration_says_how_images_are_prepared(
    preprocess: dict[str, object], views: list[list[int]], tokens: int, tmp_path: Path
) -> None:
    """And nobody is asked whether the code beside the weights may run, since none does."""
    (tmp_path / "config.json").write_text(json.dumps(DEEPSEEK_OCR))
    model = {"name": "deepseek_ocr", "path": str(tmp_path), "preprocess": {"enable": True, **preprocess}}
    file = tmp_path / "run.yaml"
    file.write_text(json.dumps({"model": model}))
    record = json.loads(run(str(file), "--image", "1224x1584", "--prompt-tokens", "32", "--json").output)
    assert record["request"]["views"] == views
    assert record["phases"]["vision"]["tokens"] == tokens
    assert record["phases"]["prefill"]["tokens"] == 32 + tokens
    shown = run(str(file), "--image", "1224x1584", "--prompt-tokens", "32").output
    assert f"32 prompt tokens beside {tokens} of images" in shown


def test_the_demo_preset_has_fewer_tiles_than_its_family() -> None:
    record = json.loads(run("demo", "--image", "800x1200", "--json").output)
    assert record["request"]["views"] == [[1024, 1024], [768, 768], [768, 768]]
    assert record["phases"]["vision"]["tokens"] == 256 + 2 * 144 + 1


def test_a_configuration_that_cannot_be_honoured_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("model: {preprocess: {patch_size: 14}}")
    with pytest.raises(ConfigError, match=r"model\.preprocess\.patch_size: demo cannot honour 14"):
        run(str(file))


def test_output_files(model: str, tmp_path: Path) -> None:
    out = tmp_path / "made" / "here"
    run(model, "--output", str(out))
    assert json.loads((out / "static_compute.json").read_text())["schema"] == "llmperf.static/1"
    assert (out / "static_compute.md").read_text().startswith("# Static analysis")


def test_a_sweep_prints_a_table_and_writes_files(model: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(model, "--sweep", "batch=1,2,4,...,16", "--gpu", "l4", "--output", str(out))
    assert result.output.count("\ndecode") == 5
    assert sorted(path.name for path in out.iterdir()) == ["static_sweep.csv", "static_sweep.html"]


def test_without_output_or_sweep_nothing_is_written(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    run(model)
    assert not list(empty.iterdir())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--image", "10"], "--image '10' is no size"),
        (["--image", "0x10"], "is no size"),
        (["--dtype", "float7"], "unknown dtype 'float7'"),
        (["--kv-dtype", "float7"], "unknown dtype"),
        (["--attention-flops", "half"], "--attention-flops half"),
        (["--logits", "some"], "--logits some"),
        (["--mla-form", "x"], "--mla-form x"),
        (["--method", "guess"], "--method 'guess'"),
        (["--gpu", "h999"], "unknown GPU 'h999'"),
        (["--sweep", "batch=1", "--sweep", "batch=2"], "names an axis twice"),
        (["--mla-form", "absorbed", "--method", "traced"], "--mla-form absorbed needs a closed form"),
    ],
)
def test_mistakes_name_the_option(model: str, arguments: list[str], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        run(model, *arguments)
    assert text in caught.value.message
    assert caught.value.remedy


def test_missing_models() -> None:
    for name in ("nowhere", "no/where", "nowhere.json"):
        with pytest.raises(MissingError, match=r"nowhere|no/where"):
            run(name)
