"""Known totals of published models, and how the figures of a record hang together."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llm_perf_opt.analysis.static import NotCovered, analyze, generation_work
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.records.static import StaticRecord, StaticRequest
from tests.unit.static.configs import DEEPSEEK_OCR2, LLAMA_31_8B

FULL = StaticRequest(attention_flops="full", logits="all")


@pytest.mark.parametrize(
    ("config", "prefill", "decode"),
    [
        (LLAMA_31_8B, 32_938_104_193_024, 16_083_582_976),
        (DEEPSEEK_OCR2, 2_609_192_632_320, 1_274_081_280),
    ],
)
def test_known_totals(config: dict[str, Any], prefill: int, decode: int) -> None:
    phases = analyze(config, FULL).phases
    assert phases.prefill is not None
    assert phases.decode is not None
    assert (phases.prefill.flops, phases.decode.flops) == (prefill, decode)


@pytest.mark.parametrize("config", [LLAMA_31_8B, DEEPSEEK_OCR2])
@pytest.mark.parametrize("request_", [StaticRequest(), StaticRequest(batch=3, prompt_tokens=33, prefill_chunk=8)])
def test_parts_add_up(config: dict[str, Any], request_: StaticRequest) -> None:
    record = analyze(config, request_)
    for phase in (record.phases.prefill, record.phases.decode, record.phases.generation):
        assert phase is not None
        modules, operators = phase.by_module.values(), phase.by_operator.values()
        assert sum(m.flops for m in modules) == sum(o.flops for o in operators) == phase.flops
        # Without images the encoders are part of the model but of no phase.
        held = sum(m.parameters for m in modules)
        assert held == record.model.parameters if config is LLAMA_31_8B else held < (record.model.parameters or 0)
        assert sum(m.weight_bytes for m in modules) == phase.weight_bytes == phase.weight_bytes_routing.least
        assert phase.weight_bytes_routing.least <= phase.weight_bytes_routing.expected
        assert phase.weight_bytes_routing.expected <= phase.weight_bytes_routing.most
        assert phase.bytes == phase.weight_bytes + phase.kv_bytes


def test_generation_is_prefill_and_every_step() -> None:
    def flops(**sizes: int) -> tuple[int, int, int]:
        phases = analyze(DEEPSEEK_OCR2, StaticRequest(prompt_tokens=20, **sizes)).phases
        assert phases.prefill is not None
        assert phases.decode is not None
        assert phases.generation is not None
        return phases.prefill.flops, phases.decode.flops, phases.generation.flops

    prefill, _, whole = flops(new_tokens=5)
    assert whole == prefill + sum(flops(context=20 + i)[1] for i in range(4))
    assert flops(new_tokens=1)[2] == prefill


def test_generation_work_matches_the_record() -> None:
    request = StaticRequest(prompt_tokens=40, new_tokens=7, batch=2)
    phases = analyze(DEEPSEEK_OCR2, request).phases
    work = generation_work(DEEPSEEK_OCR2, prompt_tokens=[40, 40], new_tokens=7)
    assert phases.prefill is not None
    assert phases.generation is not None
    assert work.prefill == work.prefill_useful
    assert work.decode == work.decode_useful
    assert (work.prefill.flops, work.prefill.bytes) == (phases.prefill.flops, phases.prefill.bytes)
    assert work.prefill.flops + work.decode.flops == phases.generation.flops
    assert work.prefill.bytes + work.decode.bytes == phases.generation.bytes


def test_padding_is_work_but_not_useful() -> None:
    work = generation_work(LLAMA_31_8B, prompt_tokens=[10, 100], new_tokens=3)
    alone = [generation_work(LLAMA_31_8B, prompt_tokens=[n], new_tokens=3) for n in (10, 100)]
    assert work.prefill_useful.flops == sum(w.prefill.flops for w in alone) < work.prefill.flops
    assert work.decode_useful.flops == sum(w.decode.flops for w in alone) < work.decode.flops
    assert work.decode.flops == 2 * alone[1].decode.flops


def test_json_keys_and_round_trip() -> None:
    record = analyze(DEEPSEEK_OCR2)
    data = json.loads(record.to_json())
    assert data["schema"] == "llmperf.static/1"
    assert {"method", "assumptions", "model", "phases"} <= set(data)
    wanted = {"flops", "bytes", "weight_bytes", "kv_bytes", "activation_bytes", "arithmetic_intensity"}
    assert wanted | {"by_module", "by_operator"} <= set(data["phases"]["decode"])
    assert data["phases"]["vision"] is None
    assert data["reasons"]["phases.vision"]
    assert StaticRecord.model_validate_json(record.to_json()) == record


def test_an_unknown_model_type_is_not_a_dense_model() -> None:
    with pytest.raises(NotCovered, match="no closed form"):
        analyze({"model_type": "walrus", "hidden_size": 64})


BAD: list[tuple[dict[str, Any], str]] = [
    ({"hidden_size": 0}, "hidden_size"),
    ({"num_hidden_layers": -1}, "num_hidden_layers"),
    ({"num_attention_heads": "32"}, "num_attention_heads"),
    ({"num_attention_heads": True}, "num_attention_heads"),
    ({"num_key_value_heads": 7}, "num_key_value_heads"),
    ({"num_attention_heads": 24}, "hidden_size"),
    ({"vocab_size": None}, "vocab_size"),
    ({"vocab_size": 1.5}, "vocab_size"),
    ({"n_routed_experts": 64}, "n_routed_experts"),
    ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
    ({"model_type": None}, "model_type"),
]


@pytest.mark.parametrize(("change", "key"), BAD)
def test_bad_sizes_name_file_and_key(change: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"here/config\.json: .*{key}") as caught:
        analyze({**LLAMA_31_8B, **change}, where="here/config.json")
    assert caught.value.remedy


def test_misspelt_keys_are_named() -> None:
    text = dict(DEEPSEEK_OCR2["text_config"])
    text["num_routed_experts"] = text.pop("n_routed_experts")
    with pytest.raises(ConfigError, match=r"text_config\.num_routed_experts.*calls it n_routed_experts"):
        analyze({**DEEPSEEK_OCR2, "text_config": text})
    wrong = {key: value for key, value in LLAMA_31_8B.items() if key != "hidden_size"}
    with pytest.raises(ConfigError, match=r"hiden_size.*hidden_size"):
        analyze({**wrong, "hiden_size": 4096})


def test_more_experts_per_token_than_experts() -> None:
    text = {**DEEPSEEK_OCR2["text_config"], "num_experts_per_tok": 65}
    with pytest.raises(ConfigError, match=r"num_experts_per_tok is 65, above .*n_routed_experts = 64"):
        analyze({**DEEPSEEK_OCR2, "text_config": text})
