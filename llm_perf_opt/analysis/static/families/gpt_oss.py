"""GPT-OSS: a mixture with biases in every layer, sliding and full attention in turn, one learned sink a head."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import (
    BEFORE,
    DENSE,
    alternating,
    attention,
    causal_lm,
    layer_windows,
    norms,
    routed_experts,
    sizes,
    window_kind,
)
from llm_perf_opt.analysis.static.description import Description, Family, Options
from llm_perf_opt.analysis.static.operators import Vector
from llm_perf_opt.analysis.static.reader import Reader


def _describe(config: Reader, options: Options) -> Description:
    size, bias = sizes(config), config.flag("attention_bias")
    sinks = (Vector("self_attn.sinks", size.heads),)
    experts = routed_experts(
        config,
        size.hidden,
        size.inner,
        count="num_local_experts",
        top_k="num_experts_per_tok",
        router="mlp.router",
        router_bias=True,
        bias=True,
    )
    window, derived = config.optional_size("sliding_window"), alternating(size.layers, 2)
    layers = [
        (
            window_kind(own),
            norms(BEFORE, size.hidden)
            + attention(size, window=own, qkv_bias=bias, out_bias=bias, extra=sinks)
            + experts,
        )
        for own in layer_windows(config, size.layers, window, default=derived)
    ]
    return Description(causal_lm(config, layers))


FAMILIES = (
    Family(
        "gpt_oss",
        {
            **DENSE,
            "vocab_size": 201088,
            "hidden_size": 2880,
            "intermediate_size": 2880,
            "num_hidden_layers": 36,
            "num_attention_heads": 64,
            "num_key_value_heads": 8,
            "head_dim": 64,
            "sliding_window": 128,
            "layer_types": None,
            "attention_bias": True,
            "num_experts_per_tok": 4,
            "num_local_experts": 128,
        },
        _describe,
        aliases={"num_experts": "num_local_experts"},
    ),
)
