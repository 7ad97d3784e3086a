"""Qwen2 (biases on query, key and value) and Qwen3 (norms on query and key instead)."""

from __future__ import annotations

from collections.abc import Callable

from llm_perf_opt.analysis.static.decoder import (
    DENSE_DEFAULTS,
    attention,
    causal_lm,
    gated_mlp,
    head_counts,
    head_size,
    layer_windows,
    norms,
    window_kind,
)
from llm_perf_opt.analysis.static.description import Description, Family, Options
from llm_perf_opt.analysis.static.operators import Operator
from llm_perf_opt.analysis.static.reader import Reader

WINDOW_DEFAULTS: dict[str, object] = {
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
    "layer_types": None,
}
_DEFAULTS = {
    **DENSE_DEFAULTS,
    **WINDOW_DEFAULTS,
    "vocab_size": 151936,
    "intermediate_size": 22016,
    "num_key_value_heads": 32,
}


def windows(config: Reader, layers: int) -> tuple[int | None, ...]:
    """Qwen's rule: a window only where `use_sliding_window`, and then from layer `max_window_layers` on."""
    window = config.optional_size("sliding_window") if config.flag("use_sliding_window") else None
    first = layers if window is None else config.size("max_window_layers", least=0)
    derived = ["sliding_attention" if i >= first else "full_attention" for i in range(layers)]
    return layer_windows(config, layers, window, default=derived)


def _describe(qk_norm: bool) -> Callable[[Reader, Options], Description]:
    def describe(config: Reader, options: Options) -> Description:
        hidden, layers = config.size("hidden_size"), config.size("num_hidden_layers")
        heads, kv_heads = head_counts(config)
        head_dim = head_size(config) if qk_norm else config.divides("hidden_size", "num_attention_heads")
        qkv_bias = config.flag("attention_bias") if qk_norm else True
        out_bias = qkv_bias and qk_norm
        extra = norms(("self_attn.q_norm", "self_attn.k_norm"), head_dim) if qk_norm else ()
        mlp = gated_mlp(hidden, config.size("intermediate_size"))

        def layer(window: int | None) -> tuple[str, tuple[Operator, ...]]:
            mixed = attention(
                hidden, heads, kv_heads, head_dim, window=window, qkv_bias=qkv_bias, out_bias=out_bias, extra=extra
            )
            return window_kind(window), (
                *norms(("input_layernorm", "post_attention_layernorm"), hidden),
                *mixed,
                *mlp,
            )

        stacked = [layer(window) for window in windows(config, layers)]
        return Description(causal_lm(config, stacked, hidden=hidden, tied=config.flag("tie_word_embeddings")))

    return describe


FAMILIES = (
    Family("qwen2", {key: value for key, value in _DEFAULTS.items() if key != "head_dim"}, _describe(False)),
    Family("qwen3", {**_DEFAULTS, "head_dim": 128, "attention_bias": False}, _describe(True)),
)
