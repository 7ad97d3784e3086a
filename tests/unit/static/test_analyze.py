"""Known totals of published models, and how the figures of a record hang together."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llm_perf_opt.analysis.static.analyze import analyze
from llm_perf_opt.analysis.static.generation import generation_cost
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.records.static import Phase, StaticRecord, StaticRequest
from tests.unit.static.configs import (
    DEEPSEEK_OCR,
    DEEPSEEK_OCR2,
    DEEPSEEK_V3,
    GPT_OSS_20B,
    LLAMA_31_8B,
    QWEN3_30B_A3B,
    QWEN25_VL_7B,
)

Config = dict[str, Any]
FULL = StaticRequest(attention_flops="full", logits="all")


def phase(config: Config, name: str, **sizes: Any) -> Phase:
    found = getattr(analyze(config, StaticRequest(**sizes)).phases, name)
    assert isinstance(found, Phase)
    return found


@pytest.mark.parametrize(
    ("config", "prefill", "decode"),
    [
        (LLAMA_31_8B, 32_938_104_193_024, 16_083_582_976),
        (QWEN3_30B_A3B, 15_757_161_267_200, 7_694_712_832),
        (DEEPSEEK_V3, 170_973_789_683_712, None),
        (DEEPSEEK_OCR, 2_609_192_632_320, 1_274_081_280),
        (DEEPSEEK_OCR2, 2_609_192_632_320, 1_274_081_280),
    ],
)
def test_known_totals_at_2048_tokens(config: Config, prefill: int, decode: int | None) -> None:
    phases = analyze(config, FULL).phases
    assert phases.prefill is not None
    assert phases.decode is not None
    assert phases.prefill.flops == prefill
    assert decode is None or phases.decode.flops == decode


def test_known_total_of_a_vision_tower() -> None:
    # 64 x 64 patches of 14 pixels.
    vision = phase(QWEN25_VL_7B, "vision", images=((896, 896),), attention_flops="full")
    assert vision.flops == 5_645_449_297_920
    assert vision.tokens == 32 * 32


@pytest.mark.parametrize(
    ("config", "total", "active"),
    [
        (LLAMA_31_8B, 8_030_261_248, 8_030_261_248),
        (QWEN3_30B_A3B, 30_532_122_624, 3_353_032_704),
        (DEEPSEEK_V3, 671_026_404_352, 37_552_282_624),
        (DEEPSEEK_OCR, 3_336_106_240, 1_140_977_920),
        (QWEN25_VL_7B, 8_292_166_656, 8_292_166_656),
        (GPT_OSS_20B, 20_914_757_184, 4_187_440_704),
    ],
)
def test_known_parameters(config: Config, total: int, active: int) -> None:
    model = analyze(config).model
    assert (model.parameters, model.active_parameters) == (total, active)


@pytest.mark.parametrize("config", [LLAMA_31_8B, DEEPSEEK_OCR2, DEEPSEEK_V3, GPT_OSS_20B])
@pytest.mark.parametrize("request_", [StaticRequest(), StaticRequest(batch=3, prompt_tokens=33, prefill_chunk=8)])
def test_parts_add_up(config: Config, request_: StaticRequest) -> None:
    record = analyze(config, request_)
    for found in (record.phases.prefill, record.phases.decode, record.phases.generation):
        assert found is not None
        modules, operators = found.by_module.values(), found.by_operator.values()
        assert sum(m.flops for m in modules) == sum(o.flops for o in operators) == found.flops
        # Without images the encoders are part of the model but of no phase.
        held = sum(m.parameters for m in modules)
        assert held < (record.model.parameters or 0) if config is DEEPSEEK_OCR2 else held == record.model.parameters
        assert sum(m.weight_bytes for m in modules) == pytest.approx(found.weight_bytes, abs=len(modules))
        routing = found.weight_bytes_routing
        assert found.weight_bytes == routing.least <= routing.expected <= routing.most
        assert found.bytes == found.weight_bytes + found.kv_bytes


def test_generation_is_prefill_and_every_step() -> None:
    sizes = {"prompt_tokens": 20}
    prefill = phase(DEEPSEEK_OCR2, "prefill", **sizes).flops
    steps = [phase(DEEPSEEK_OCR2, "decode", context=20 + i, **sizes) for i in range(4)]
    whole = phase(DEEPSEEK_OCR2, "generation", new_tokens=5, **sizes)
    assert whole.flops == prefill + sum(step.flops for step in steps)
    assert phase(DEEPSEEK_OCR2, "generation", new_tokens=1, **sizes).flops == prefill


def test_sliding_layers_attend_their_window_at_most() -> None:
    # 12 of 24 layers slide over 128 tokens: 64 heads of 64 + 64 numbers.
    long, short = (phase(GPT_OSS_20B, "decode", context=c).by_module for c in (4096, 100))
    sliding, full = "layers[sliding].self_attn.attention", "layers[full].self_attn.attention"
    assert long[sliding].flops == 12 * 2 * 128 * 64 * 128
    assert short[sliding].flops == short[full].flops == 12 * 2 * 101 * 64 * 128
    assert long[full].flops == 12 * 2 * 4097 * 64 * 128


def test_latent_attention_in_its_three_forms() -> None:
    forms = {form: phase(DEEPSEEK_V3, "decode", mla_form=form) for form in ("reexpanded", "cached", "absorbed")}
    expand = 61 * 2 * 512 * 128 * (128 + 128)
    # Re-expanding adds the projection of 2,048 cached latents to that of the new one.
    assert forms["reexpanded"].flops - forms["cached"].flops == expand * 2048
    # Absorbed attention runs on the latent: 512 + 64 wide keys, 512 wide values.
    wider = 61 * 2 * 2049 * 128 * ((576 + 512) - (192 + 128))
    assert forms["absorbed"].flops - forms["cached"].flops == wider
    assert forms["reexpanded"].kv_bytes == forms["absorbed"].kv_bytes == 61 * 2049 * 576 * 2
    assert forms["cached"].kv_bytes == 61 * 2049 * 128 * (192 + 128) * 2
    prefills = {phase(DEEPSEEK_V3, "prefill", mla_form=form).flops for form in forms}
    assert len(prefills) == 1


def test_chunked_prefill_costs_the_same_causally_and_reads_weights_again() -> None:
    whole, pieces = (phase(LLAMA_31_8B, "prefill", prefill_chunk=chunk) for chunk in (None, 512))
    assert pieces.flops == whole.flops
    head = 128256 * 4096 * 2
    # The last piece alone goes through the head; embedding rows are gathered once each.
    layers = whole.weight_bytes - head - 2048 * 4096 * 2
    assert pieces.weight_bytes == 4 * layers + head + 2048 * 4096 * 2
    # Each piece reads what is cached before it: 0 + 512 + 1024 + 1536 tokens, beside writing its own.
    assert pieces.kv_bytes == (2048 + 3072) * 131072


def test_experts_read_depend_on_routing() -> None:
    one = phase(QWEN3_30B_A3B, "decode").weight_bytes_routing
    assert one.least == one.expected == one.most
    many = phase(QWEN3_30B_A3B, "decode", batch=16).weight_bytes_routing
    expert = 3 * 2048 * 768 * 2
    dense = one.least - 48 * 8 * expert + 15 * 2048 * 2
    assert many.least == dense + 48 * 8 * expert
    assert many.most == dense + 48 * 128 * expert
    assert many.expected == pytest.approx(dense + 48 * 128 * (1 - (120 / 128) ** 16) * expert)


def test_quantized_weights_as_stored() -> None:
    assert analyze(GPT_OSS_20B).model.weight_bytes == pytest.approx(13_761_264_768)
    v3 = analyze(DEEPSEEK_V3).model
    assert v3.quantization == "fp8"
    # Between one byte for everything and two for the embedding, the head and the routers.
    assert 671_026_404_352 < (v3.weight_bytes or 0) < 675_000_000_000
    plain = analyze(DEEPSEEK_V3, StaticRequest(dtype="bfloat16"))
    assert plain.model.weight_bytes == 2 * 671_026_404_352
    assert any("set aside" in line for line in plain.assumptions)


@pytest.mark.parametrize(
    ("quantization", "bits"),
    [
        # An index of 32 bits for each input beside the groups: of seven matrices a layer.
        (
            {"quant_method": "gptq", "bits": 4, "group_size": 128},
            4 + (16 + 4) / 128 + 32 * (6 * 4096 + 14336) / (218_103_808),
        ),
        ({"quant_method": "awq", "bits": 4, "group_size": 64}, 4 + (16 + 4) / 64),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 4 + 32 / 64),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, None),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "group_0": {"weights": {"num_bits": 8, "strategy": "channel"}, "targets": ["Linear"]}
                },
            },
            None,
        ),
    ],
)
def test_quantization_methods(quantization: Config, bits: float | None) -> None:
    model = analyze({**LLAMA_31_8B, "quantization_config": quantization}).model
    kept = 2 * 128256 * 4096 + 65 * 4096
    stored = ((model.weight_bytes or 0) - 2 * kept) * 8 / (8_030_261_248 - kept)
    assert stored == pytest.approx(bits) if bits else 8 < stored < 8.02


def test_an_unknown_quantization_is_named() -> None:
    record = analyze({**LLAMA_31_8B, "quantization_config": {"quant_method": "hieroglyphs"}})
    assert record.model.quantization is None
    assert any("'hieroglyphs' is not known" in line for line in record.assumptions)


def test_cache_types() -> None:
    half, tiny = (phase(LLAMA_31_8B, "decode", kv_dtype=kind).kv_bytes for kind in (None, "int4"))
    assert half == 4 * tiny == 2049 * 131072


def test_vision_is_nested_in_prefill_and_lengthens_the_prompt() -> None:
    record = analyze(QWEN25_VL_7B, StaticRequest(prompt_tokens=10, images=((896, 896),), batch=2))
    seen, read, step = record.phases.vision, record.phases.prefill, record.phases.decode
    assert seen is not None
    assert read is not None
    assert step is not None
    assert read.tokens == 2 * (10 + 1024)
    assert record.request.context == 1034
    text = phase(QWEN25_VL_7B, "prefill", prompt_tokens=1034, batch=2)
    assert read.flops == text.flops + seen.flops
    assert any("nested in prefill" in line for line in record.assumptions)


def test_images_for_a_text_model_are_refused() -> None:
    with pytest.raises(ConfigError, match="takes no images"):
        analyze(LLAMA_31_8B, StaticRequest(images=((10, 10),)))


def test_layers_with_their_own_head_counts() -> None:
    changed = {**LLAMA_31_8B, "per_layer_config": {"1": {"num_key_value_heads": 4}, "5": {"intermediate_size": 64}}}
    record, plain = analyze(changed), analyze(LLAMA_31_8B)
    less = 2 * 4096 * 4 * 128 + 3 * 4096 * (14336 - 64)
    assert record.model.parameters == (plain.model.parameters or 0) - less
    found = phase(changed, "prefill").by_module
    assert [found[name].repeat for name in found if name.endswith("k_proj")] == [30, 1, 1]
    with pytest.raises(ConfigError, match=r"per_layer_config\.99 names no layer"):
        analyze({**LLAMA_31_8B, "per_layer_config": {"99": {"num_key_value_heads": 4}}})


def test_generation_work_matches_the_record() -> None:
    request = StaticRequest(prompt_tokens=40, new_tokens=7, batch=2)
    phases = analyze(DEEPSEEK_OCR2, request).phases
    work = generation_cost(DEEPSEEK_OCR2, prompt_tokens=[40, 40], new_tokens=7)
    assert phases.prefill is not None
    assert phases.generation is not None
    assert work.prefill == work.prefill_useful
    assert work.decode == work.decode_useful
    assert (work.prefill.flops, work.prefill.bytes) == (phases.prefill.flops, phases.prefill.bytes)
    assert work.prefill.flops + work.decode.flops == phases.generation.flops
    assert work.prefill.bytes + work.decode.bytes == phases.generation.bytes


def test_padding_is_work_but_not_useful() -> None:
    work = generation_cost(LLAMA_31_8B, prompt_tokens=[10, 100], new_tokens=3)
    alone = [generation_cost(LLAMA_31_8B, prompt_tokens=[n], new_tokens=3) for n in (10, 100)]
    assert work.prefill_useful.flops == sum(w.prefill.flops for w in alone) < work.prefill.flops
    assert work.decode_useful.flops == sum(w.decode.flops for w in alone) < work.decode.flops
    assert work.decode.flops == 2 * alone[1].decode.flops


def test_work_of_real_views_counts_vision_once_in_prefill() -> None:
    views = ((640, 640), (640, 640), (1024, 1024))
    work = generation_cost(DEEPSEEK_OCR, prompt_tokens=[500], new_tokens=2, views=views)
    text = generation_cost(DEEPSEEK_OCR, prompt_tokens=[500], new_tokens=2)
    assert work.vision is not None
    assert work.prefill.flops == text.prefill.flops + work.vision.flops
    assert work.decode == text.decode


def test_image_tokens_of_a_tiled_page() -> None:
    # A page of 1224 x 1584 becomes 2 x 3 tiles of 640 and one view of 1024 (row ends and a separator included).
    tokens = phase(DEEPSEEK_OCR, "vision", images=((1224, 1584),)).tokens
    assert tokens == (10 * 2 + 1) * 10 * 3 + (16 + 1) * 16 + 1


def test_json_keys_and_round_trip() -> None:
    record = analyze(DEEPSEEK_OCR2)
    data = json.loads(record.to_json())
    assert data["schema"] == "llmperf.static/1"
    assert {"method", "assumptions", "model", "phases", "gpus"} <= set(data)
    assert {"model_type", "parameters", "active_parameters", "weight_bytes"} <= set(data["model"])
    wanted = {"flops", "bytes", "weight_bytes", "kv_bytes", "activation_bytes", "arithmetic_intensity"}
    assert wanted | {"by_module", "by_operator"} <= set(data["phases"]["decode"])
    assert data["phases"]["vision"] is None
    assert data["reasons"]["phases.vision"]
    assert StaticRecord.model_validate_json(record.to_json()) == record
