"""GLM-4-MoE and dots.llm1: dense layers first, then routed experts beside shared ones."""

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
    shared_and_routed,
    sizes,
    window_kind,
)
from llm_perf_opt.analysis.static.description import Description, Family, Options
from llm_perf_opt.analysis.static.operators import Operator
from llm_perf_opt.analysis.static.reader import Reader


def _layers(
    config: Reader, windows: tuple[int | None, ...], *, out_bias: bool, head_norm: bool
) -> list[tuple[str, tuple[Operator, ...]]]:
    size, bias = sizes(config), config.flag("attention_bias")
    first = min(config.size("first_k_dense_replace", least=0), size.layers)
    dense = gated_mlp(size.hidden, size.inner)
    mixture = shared_and_routed(config, size.hidden) if first < size.layers else ()
    extra = head_norms(size) if head_norm else ()
    return [
        (
            f"{'moe' if layer >= first else 'dense'},{window_kind(own)}",
            norms(BEFORE, size.hidden)
            + attention(size, window=own, qkv_bias=bias, out_bias=bias and out_bias, extra=extra)
            + (mixture if layer >= first else dense),
        )
        for layer, own in enumerate(windows)
    ]


def _glm4_moe(config: Reader, options: Options) -> Description:
    windows = (None,) * config.size("num_hidden_layers")
    layers = _layers(config, windows, out_bias=False, head_norm=config.flag("use_qk_norm"))
    return Description(causal_lm(config, layers))


def _dots1(config: Reader, options: Options) -> Description:
    layers, window = config.size("num_hidden_layers"), config.optional_size("sliding_window")
    first = config.size("max_window_layers", least=0)
    derived = ["sliding_attention" if window and i >= first else "full_attention" for i in range(layers)]
    windows = layer_windows(config, layers, window, default=derived)
    return Description(causal_lm(config, _layers(config, windows, out_bias=True, head_norm=True)))


FAMILIES = (
    Family(
        "glm4_moe",
        {
            **DENSE,
            "vocab_size": 151552,
            "intermediate_size": 10944,
            "num_hidden_layers": 46,
            "num_attention_heads": 96,
            "num_key_value_heads": 8,
            "attention_bias": False,
            "moe_intermediate_size": 1408,
            "num_experts_per_tok": 8,
            "n_shared_experts": 1,
            "n_routed_experts": 128,
            "first_k_dense_replace": 1,
            "use_qk_norm": False,
        },
        _glm4_moe,
        aliases={"num_local_experts": "n_routed_experts"},
    ),
    Family(
        "dots1",
        {
            **DENSE,
            "vocab_size": 152064,
            "hidden_size": 4608,
            "intermediate_size": 10944,
            "num_hidden_layers": 62,
            "num_key_value_heads": 32,
            "attention_bias": False,
            "moe_intermediate_size": 1408,
            "num_experts_per_tok": None,
            "n_shared_experts": None,
            "n_routed_experts": None,
            "first_k_dense_replace": 0,
            "sliding_window": 4096,
            "max_window_layers": 62,
            "layer_types": None,
        },
        _dots1,
        aliases={"num_local_experts": "n_routed_experts"},
    ),
)
