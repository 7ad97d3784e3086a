"""Mixtral, Phi-3.5-MoE and MiniMax-M2: every MLP is a mixture of gated experts."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import (
    BEFORE,
    DENSE,
    attention,
    causal_lm,
    head_norms,
    norms,
    routed_experts,
    sizes,
)
from llm_perf_opt.analysis.static.description import Description, Family, Options
from llm_perf_opt.analysis.static.operators import Operator
from llm_perf_opt.analysis.static.reader import Reader


def _experts(config: Reader, *, router: str = "mlp.gate") -> tuple[Operator, ...]:
    return routed_experts(
        config,
        config.size("hidden_size"),
        config.size("intermediate_size"),
        count="num_local_experts",
        top_k="num_experts_per_tok",
        router=router,
    )


def _mixtral(config: Reader, options: Options) -> Description:
    size = sizes(config)
    window = config.optional_size("sliding_window")
    layer = norms(BEFORE, size.hidden) + attention(size, window=window) + _experts(config)
    return Description(causal_lm(config, [("layer", layer)] * size.layers))


def _phimoe(config: Reader, options: Options) -> Description:
    size, bias = sizes(config), config.flag("attention_bias")
    layer = (
        norms(BEFORE, size.hidden, bias=True)
        + attention(size, window=config.optional_size("sliding_window"), qkv_bias=bias, out_bias=bias)
        + _experts(config, router="mlp.router")
    )
    blocks = causal_lm(config, [("layer", layer)] * size.layers, norm_bias=True, head_bias=config.flag("lm_head_bias"))
    return Description(blocks)


def _minimax(config: Reader, options: Options) -> Description:
    size = sizes(config)
    extra = head_norms(size, per_head=False)
    layer = norms(BEFORE, size.hidden) + attention(size, extra=extra) + _experts(config)
    return Description(causal_lm(config, [("layer", layer)] * size.layers))


_DEFAULTS = {
    **DENSE,
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "sliding_window": None,
    "num_experts_per_tok": 2,
    "num_local_experts": 8,
}

FAMILIES = (
    Family("mixtral", _DEFAULTS, _mixtral, aliases={"num_experts": "num_local_experts"}),
    Family(
        "phimoe",
        {
            **_DEFAULTS,
            "vocab_size": 32064,
            "intermediate_size": 6400,
            "num_local_experts": 16,
            "attention_bias": False,
            "lm_head_bias": False,
        },
        _phimoe,
    ),
    Family(
        "minimax_m2",
        {
            **DENSE,
            "vocab_size": 200064,
            "hidden_size": 3072,
            "intermediate_size": 1536,
            "num_hidden_layers": 62,
            "num_attention_heads": 48,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "num_experts_per_tok": 8,
            "num_local_experts": 256,
        },
        _minimax,
        aliases={"num_experts": "num_local_experts"},
    ),
)
