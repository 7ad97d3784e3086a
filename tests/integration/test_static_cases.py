"""Figures of static analysis that were found wrong once, on small inputs and published configurations."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from llm_perf_opt.analysis.static.analyze import analyze
from llm_perf_opt.analysis.static.source import read_config
from llm_perf_opt.analysis.static.stored import stored_weights
from llm_perf_opt.cli.static import app
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.records.static import Phase, StaticRecord, StaticRequest
from llm_perf_opt.workload.gguf_config import read_gguf_config, stored_in_gguf

pytestmark = pytest.mark.integration


@pytest.fixture(scope="session")
def cases(shared_data: Path) -> Path:
    folder = shared_data.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"no cases at {folder}")
    return folder


def of(path: Path, **request: Any) -> StaticRecord:
    asked = StaticRequest(**request)
    if path.suffix == ".gguf":
        return analyze(read_gguf_config(path), asked, where=str(path), stored=stored_in_gguf(path))
    config, file = read_config(path)
    return analyze(config, asked, where=str(file), stored=stored_weights(file.parent))


def prefill(record: StaticRecord) -> Phase:
    assert record.phases.prefill is not None
    return record.phases.prefill


def decode(record: StaticRecord) -> Phase:
    assert record.phases.decode is not None
    return record.phases.decode


def recurrent(record: StaticRecord) -> dict[str, Any]:
    assert record.model.state is not None
    assert record.model.state.recurrent is not None
    return record.model.state.recurrent.model_dump()


Value = Callable[[StaticRecord], object]
FIGURES: list[tuple[str, dict[str, Any], Value, object]] = [
    ("static/llama4.json", {}, lambda r: prefill(r).by_operator["attention"].flops, 1_478_492_160),
    ("static/scout.json", {}, lambda r: round(r.model.active_parameters / 1e8), 172),  # type: ignore[operator]
    ("static/scout.json", {}, lambda r: round(r.model.parameters / 1e8), 1078),  # type: ignore[operator]
    ("static/qwen3next.json", {}, lambda r: recurrent(r)["dtype"], "float32"),
    ("static/qwen3next.json", {}, lambda r: recurrent(r)["resident_bytes"], 49_152),
    ("static/qwen3next.json", {}, lambda r: recurrent(r)["moved_bytes"], 98_304),
    ("static/qwen3next.json", {}, lambda r: recurrent(r)["flops"], 73_728),
    ("static/qwen3next.json", {}, lambda r: decode(r).by_operator["recurrence"].flops, 73_728),
    ("static/z_falconh1.json", {}, lambda r: recurrent(r)["flops"], 4 * 2 * 4 * 16 * 32),
    ("models/def--mamba2", {}, lambda r: decode(r).flops, 14_567_866_368),
    ("models/saved--mamba2", {}, lambda r: decode(r).kv_bytes, 0),
    ("models/moonshotai--Kimi-K2-Instruct", {}, lambda r: r.model.parameters, 1_026_408_209_408),
    ("models/moonshotai--Kimi-K2-Instruct", {}, lambda r: round(r.model.active_parameters / 1e7), 3286),  # type: ignore[operator]
    ("models/nvidia--Nemotron-H-56B-Base-8K", {}, lambda r: round(recurrent(r)["resident_bytes"] / 1e6), 453),
    ("models/nvidia--Nemotron-H-56B-Base-8K", {}, lambda r: recurrent(r)["dtype"], "bfloat16"),
    ("models/nvidia--Nemotron-H-56B-Base-8K", {}, lambda r: round(decode(r).kv_bytes / 1e5), 839),
    ("models/nvidia--Qwen3-235B-A22B-NVFP4", {}, lambda r: round(r.model.weight_bytes / 1e8), 1341),  # type: ignore[operator]
    ("models/Qwen--Qwen3-VL-8B-Instruct", {"images": ((672, 672),)}, lambda r: prefill(r).tokens, 2489),
    ("models/Qwen--Qwen3-VL-8B-Instruct", {"images": ((672, 672),)}, lambda r: round(prefill(r).flops / 1e10), 3839),
    ("gguf/gemma3-tiny.gguf", {}, lambda r: r.model.parameters, 1_259_008),
    ("gguf/m_mixtral.gguf", {}, lambda r: r.model.parameters, 6_766_848),
    (
        "gguf/m_gemma2.gguf",
        {"prompt_tokens": 512},
        lambda r: prefill(r).by_module["layers[sliding].self_attn.attention"].flops,
        31_490_048,
    ),
    # A layer with one key-value head less: 64 x 256 weights each for its keys and its values.
    ("gguf/arrkv.gguf", {}, lambda r: r.model.parameters, 2 * 589_824 - 2 * 64 * 256 + 2 * 512 + 256 + 300 * 256),
    ("gguf/m_qwen3moe.gguf", {}, lambda r: r.model.model_type, "qwen3_moe"),
]


@pytest.mark.parametrize(("file", "request_", "value", "right"), FIGURES)
def test_figures(cases: Path, file: str, request_: dict[str, Any], value: Value, right: object) -> None:
    assert value(of(cases / file, **request_)) == right


REFUSALS = [
    ("static/vit.json", "ViTForImageClassification, a classifier of images"),
    ("models/saved--reward_llama", "LlamaForSequenceClassification, a classifier"),
    ("gguf/noarch.gguf", "an importance matrix"),
]


@pytest.mark.parametrize(("file", "reason"), REFUSALS)
def test_refusals(cases: Path, file: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        of(cases / file)
    assert caught.value.remedy


def test_an_encoder_says_why_it_has_no_decode_step(cases: Path) -> None:
    from llm_perf_opt.analysis.traced.trace import trace_description

    config, file = read_config(cases / "static/bert.json")
    description = trace_description(config, (), str(file))
    record = analyze(config, StaticRequest(), description=description)
    reason = (
        "BertForMaskedLM, an encoder that fills in masked tokens: it reads its prompt in one pass; there is no decoder"
    )
    assert record.phases.decode is record.phases.generation is None
    assert record.reasons["phases.decode"].startswith(reason)
    # As many positions as it has, where no length is asked for.
    assert (record.request.prompt_tokens, prefill(record).tokens, prefill(record).kv_bytes) == (512, 512, 0)
    assert record.model.parameters == 109_514_298
    with pytest.raises(ConfigError, match="this bert has 512 positions, and the prompt 513 tokens"):
        analyze(config, StaticRequest(prompt_tokens=513), description=description)


def test_a_step_grows_with_the_batch_by_state_and_cache(cases: Path, shared_data: Path) -> None:
    files = [cases / "static/qwen3next.json", cases / "static/z_falconh1.json", cases / "models/def--mamba2"]
    files += [shared_data / "models" / name for name in ("Qwen--Qwen3.5-27B", "nvidia--Nemotron-H-56B-Base-8K")]
    for file in files:
        one, three = (decode(of(file, batch=batch, dtype="bfloat16")) for batch in (1, 3))
        embedding = sum(
            three.by_module[name].weight_bytes - figures.weight_bytes for name, figures in one.by_module.items()
        )
        grown = three.bytes - one.bytes - embedding
        assert grown == 2 * (one.kv_bytes + one.state_bytes), file


def test_the_same_images_by_both_methods(cases: Path) -> None:
    from llm_perf_opt.analysis.traced.trace import trace_description

    for name, tokens in (("Qwen3-VL-8B-Instruct", 2489), ("Qwen3-VL-30B-A3B-Instruct", 2489)):
        config, file = read_config(cases / "models" / f"Qwen--{name}")
        request = StaticRequest(images=((672, 672),))
        closed = analyze(config, request)
        traced = analyze(config, request, description=trace_description(config, request.images, str(file)))
        assert prefill(closed).tokens == prefill(traced).tokens == tokens
        assert prefill(closed).flops == prefill(traced).flops
        assert closed.model.parameters == traced.model.parameters
        assert traced.phases.vision is not None
        assert traced.phases.vision.flops == closed.phases.vision.flops  # type: ignore[union-attr]


def test_shared_blocks_are_read_once(cases: Path) -> None:
    from llm_perf_opt.analysis.traced.trace import trace_description

    config, file = read_config(cases / "models" / "def--zamba2")
    record = analyze(config, StaticRequest(), description=trace_description(config, (), str(file)))
    assert record.model.parameters == 2_481_848_336
    # All of it once, and one row of the embedding that the head reads whole.
    assert decode(record).weight_bytes == 2 * (2_481_848_336 + 2560)
    assert record.model.state is not None


MODES = {
    "Gundam": ((1024, 640, True), [[1024, 1024], *[[640, 640]] * 6], 903),
    "Small": ((640, 640, False), [[640, 640]], 111),
    "Tiny": ((512, 512, False), [[512, 512]], 73),
}


@pytest.mark.parametrize("mode", MODES)
def test_the_modes_of_deepseek_ocr_differ(cases: Path, mode: str, tmp_path: Path) -> None:
    (base, image, crop), views, tokens = MODES[mode]
    shutil.copy(cases / "config" / "deepseek-ocr-v1.config.json", tmp_path / "config.json")
    preprocess = {"enable": True, "base_size": base, "image_size": image, "crop_mode": crop}
    file = tmp_path / "run.yaml"
    file.write_text(json.dumps({"model": {"name": "deepseek_ocr", "path": str(tmp_path), "preprocess": preprocess}}))
    found = CliRunner().invoke(app, [str(file), "--image", "1224x1584", "--json"])
    assert found.exit_code == 0, found.output
    record = json.loads(found.output)
    assert record["request"]["views"] == views
    assert record["phases"]["vision"]["tokens"] == tokens
