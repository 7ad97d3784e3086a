"""Qwen2-MoE (a gated shared expert beside the routed ones) and Qwen3-MoE (routed ones alone)."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import (
    BEFORE,
    DENSE,
    attention,
    causal_lm,
    gated_mlp,
    head_norms,
    layer_windows,
    norms,
    routed_experts,
    sizes,
    window_kind,
)
from llm_perf_opt.analysis.static.description import Block, Description, Family, Options
from llm_perf_opt.analysis.static.families.qwen2 import WINDOWS
from llm_perf_opt.analysis.static.operators import Linear, Operator
from llm_perf_opt.analysis.static.reader import Reader

_ROUTING = {
    "decoder_sparse_step": 1,
    "mlp_only_layers": None,
    "num_experts_per_tok": 8,
    "num_experts": 128,
    "moe_intermediate_size": 768,
}
QWEN3_MOE = {
    **DENSE,
    **_ROUTING,
    "vocab_size": 151936,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 24,
    "num_key_value_heads": 4,
    "attention_bias": False,
    "use_sliding_window": False,
    "sliding_window": 4096,
}
QWEN3_MOE_ALIASES = {"num_local_experts": "num_experts"}


def sparse_layers(config: Reader, layers: int) -> tuple[bool, ...]:
    """Which layers are mixtures: each `decoder_sparse_step`-th, but those of `mlp_only_layers`."""
    step, dense = config.size("decoder_sparse_step"), set(config.sizes("mlp_only_layers"))
    some = config.size("num_experts", least=0) > 0
    return tuple(some and layer not in dense and (layer + 1) % step == 0 for layer in range(layers))


def _qwen2_windows(config: Reader, layers: int) -> tuple[int | None, ...]:
    """This type's own rule: every second layer below `max_window_layers` slides."""
    window = config.optional_size("sliding_window") if config.flag("use_sliding_window") else None
    first = config.size("max_window_layers", least=0) if window else 0
    derived = ["sliding_attention" if i % 2 == 0 and i < first else "full_attention" for i in range(layers)]
    return layer_windows(config, layers, window, default=derived)


def experts(config: Reader, hidden: int) -> tuple[Operator, ...]:
    """Router and routed experts."""
    inner = config.size("moe_intermediate_size")
    return routed_experts(config, hidden, inner, count="num_experts", top_k="num_experts_per_tok")


def shared_expert(config: Reader, hidden: int) -> tuple[Operator, ...]:
    """The expert that every token visits, and its gate."""
    return (
        *gated_mlp(hidden, config.size("shared_expert_intermediate_size"), module="mlp.shared_expert"),
        Linear("mlp.shared_expert_gate", hidden, 1, quantizable=False),
    )


def _qwen2_moe(config: Reader, options: Options) -> Description:
    size, bias = sizes(config), config.flag("qkv_bias")
    dense = gated_mlp(size.hidden, size.inner)
    mixture: tuple[Operator, ...] = ()
    if any(sparse_layers(config, size.layers)):
        mixture = experts(config, size.hidden) + shared_expert(config, size.hidden)
    layers = [
        (
            f"{'moe' if sparse else 'dense'},{window_kind(own)}",
            norms(BEFORE, size.hidden) + attention(size, window=own, qkv_bias=bias) + (mixture if sparse else dense),
        )
        for own, sparse in zip(_qwen2_windows(config, size.layers), sparse_layers(config, size.layers), strict=True)
    ]
    return Description(causal_lm(config, layers))


def qwen3_moe_blocks(config: Reader, *, tied: bool | None = None) -> tuple[Block, ...]:
    """Qwen3-MoE's decoder."""
    size, bias = sizes(config), config.flag("attention_bias")
    window = config.optional_size("sliding_window") if config.flag("use_sliding_window") else None
    dense = gated_mlp(size.hidden, size.inner)
    pattern = sparse_layers(config, size.layers)
    mixture = experts(config, size.hidden) if any(pattern) else ()
    layers = [
        (
            "moe" if sparse else "dense",
            norms(BEFORE, size.hidden)
            + attention(size, window=window, qkv_bias=bias, out_bias=bias, extra=head_norms(size))
            + (mixture if sparse else dense),
        )
        for sparse in pattern
    ]
    return causal_lm(config, layers, tied=tied)


def _qwen3_moe(config: Reader, options: Options) -> Description:
    return Description(qwen3_moe_blocks(config))


FAMILIES = (
    Family(
        "qwen2_moe",
        {
            **DENSE,
            **_ROUTING,
            **WINDOWS,
            "vocab_size": 151936,
            "hidden_size": 2048,
            "intermediate_size": 5632,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "num_key_value_heads": 16,
            "moe_intermediate_size": 1408,
            "shared_expert_intermediate_size": 5632,
            "num_experts_per_tok": 4,
            "num_experts": 60,
            "qkv_bias": True,
        },
        _qwen2_moe,
    ),
    Family("qwen3_moe", QWEN3_MOE, _qwen3_moe, aliases=QWEN3_MOE_ALIASES),
)
