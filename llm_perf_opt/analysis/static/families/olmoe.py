"""OLMoE: every MLP a mixture, norms over all query and key heads."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import BEFORE, DENSE, attention, causal_lm, norms, routed_experts, sizes
from llm_perf_opt.analysis.static.description import Description, Family, Options
from llm_perf_opt.analysis.static.operators import Vector
from llm_perf_opt.analysis.static.reader import Reader


def _describe(config: Reader, options: Options) -> Description:
    size, bias = sizes(config), config.flag("attention_bias")
    extra = (
        Vector("self_attn.q_norm", size.hidden),
        Vector("self_attn.k_norm", size.hidden // size.heads * size.kv_heads),
    )
    layer = (
        norms(BEFORE, size.hidden)
        + attention(size, qkv_bias=bias, out_bias=bias, extra=extra)
        + routed_experts(config, size.hidden, size.inner, count="num_experts", top_k="num_experts_per_tok")
    )
    return Description(causal_lm(config, [("layer", layer)] * size.layers))


FAMILIES = (
    Family(
        "olmoe",
        {
            **DENSE,
            "vocab_size": 50304,
            "hidden_size": 2048,
            "intermediate_size": 2048,
            "num_hidden_layers": 16,
            "num_attention_heads": 16,
            "attention_bias": False,
            "num_experts_per_tok": 8,
            "num_experts": 64,
        },
        _describe,
        aliases={"num_local_experts": "num_experts"},
    ),
)
