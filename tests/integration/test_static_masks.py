"""Query-key pairs are those that transformers' own masks allow, and those that an indexer selects."""

from __future__ import annotations

from typing import Any

import pytest

from llm_perf_opt.analysis.static.analyze import analyze
from llm_perf_opt.analysis.static.passes import Pass
from llm_perf_opt.records.static import StaticRecord, StaticRequest
from tests.integration.static_table import DECODERS
from tests.tiny_models import PAST

pytestmark = pytest.mark.integration
CONFIGS = {name: {"model_type": model_type, **config} for name, model_type, config in DECODERS}


def allowed(kind: str, queries: int, past: int) -> int:
    """Pairs of one sequence that transformers' mask of this kind lets through."""
    import torch
    from transformers import DynamicCache, masking_utils
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    model_type = "llama4_text" if kind == "chunked" else "mistral"
    config = CONFIG_MAPPING[model_type](
        num_hidden_layers=1, sliding_window=6, attention_chunk_size=6, layer_types=None, hidden_size=16
    )
    config._attn_implementation = "eager"
    makers = {
        "full": masking_utils.create_causal_mask,
        "sliding": masking_utils.create_sliding_window_causal_mask,
        "chunked": masking_utils.create_chunked_causal_mask,
    }
    cache = DynamicCache()
    if past:
        keys = torch.zeros(1, 1, past, 4)
        cache.update(keys, keys, 0)
    mask = makers[kind](
        config=config,
        inputs_embeds=torch.zeros(1, queries, 16),
        attention_mask=None,
        position_ids=torch.arange(past, past + queries)[None],
        **{PAST: cache},
    )
    return int((mask == 0).sum())


@pytest.mark.parametrize(("queries", "past"), [(1, 0), (5, 0), (17, 0), (1, 13), (1, 23), (4, 9)])
@pytest.mark.parametrize("kind", ["full", "sliding", "chunked"])
def test_pairs_are_those_of_the_masks(kind: str, queries: int, past: int) -> None:
    window = None if kind == "full" else 6
    assert Pass(1, queries, past, 1).pairs(window, chunked=kind == "chunked") == allowed(kind, queries, past)


def attention_flops(record: StaticRecord) -> tuple[int, int]:
    prefill, decode = record.phases.prefill, record.phases.decode
    assert prefill is not None
    assert decode is not None
    return prefill.by_operator["attention"].flops, decode.by_operator["attention"].flops


@pytest.mark.parametrize("name", ["deepseek_v32", "glm_moe_dsa"])
def test_selected_keys_by_both_methods_and_by_hand(name: str) -> None:
    from llm_perf_opt.analysis.traced.trace import trace_description

    config: dict[str, Any] = {**CONFIGS[name], "index_topk": 8}
    request = StaticRequest(prompt_tokens=20)
    closed = analyze(config, request)
    traced = analyze(config, request, description=trace_description(config, (), "here"))
    assert attention_flops(closed) == attention_flops(traced)
    heads, widths = config["num_attention_heads"], 10 + 4 + 12
    indexing, layers = 2 * 3 * (14 + 1), config["num_hidden_layers"]
    own = layers if name == "deepseek_v32" else sum(max(i - 1 + 1, 0) % 2 == 0 for i in range(layers))
    pairs, selected = sum(range(1, 21)), sum(min(8, i) for i in range(1, 21))
    assert attention_flops(closed)[0] == layers * 2 * heads * widths * selected + own * indexing * pairs
    assert attention_flops(closed)[1] == layers * 2 * heads * widths * 8 + own * indexing * 21
    # What is not selected stays in the cache all the same.
    assert closed.model.kv_bytes_per_token == 2 * (layers * (16 + 4) + own * 14)


def test_cross_attention_counts_the_tiles_of_the_images() -> None:
    config = {"model_type": "mllama", "text_config": {"num_hidden_layers": 5, "cross_attention_layers": [3]}}
    text, seen = (analyze(config, StaticRequest(prompt_tokens=10, images=images)) for images in ((), ((896, 400),)))
    tiles, positions = 2, (448 // 14) ** 2 + 1
    assert text.phases.prefill is not None
    assert seen.phases.prefill is not None
    assert text.model.parameters == seen.model.parameters
    across = next(v for k, v in seen.phases.prefill.by_module.items() if k.endswith("cross_attn.attention"))
    assert across.flops == 4 * 10 * tiles * positions * 4096
    assert across.kv_bytes == tiles * positions * 2 * 1024 * 2
    assert not [
        k for k, v in text.phases.prefill.by_module.items() if "cross_attn" in k and (v.flops or v.weight_bytes)
    ]
    assert text.model.kv_bytes_per_token == seen.model.kv_bytes_per_token == 4 * 2 * 1024 * 2


def test_experts_that_transformers_multiplies_in_vain_stand_beside() -> None:
    record = analyze(CONFIGS["llama4_text"], StaticRequest(prompt_tokens=20))
    prefill = record.phases.prefill
    assert prefill is not None
    routed = prefill.by_operator["grouped_linear"].flops
    assert prefill.implemented_flops == prefill.flops + routed * 5 // 2 - routed
