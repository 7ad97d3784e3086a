"""Qwen2 (biases on query, key and value) and Qwen3 (norms on query and key instead)."""

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
    sizes,
    window_kind,
)
from llm_perf_opt.analysis.static.description import Block, Description, Family, Options
from llm_perf_opt.analysis.static.reader import Reader

WINDOWS = {"use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 28, "layer_types": None}
DEFAULTS = {**DENSE, **WINDOWS, "vocab_size": 151936, "intermediate_size": 22016, "num_key_value_heads": 32}


def windows(config: Reader, layers: int) -> tuple[int | None, ...]:
    """Qwen's rule: a window only where `use_sliding_window`, and then from layer `max_window_layers` on."""
    window = config.optional_size("sliding_window") if config.flag("use_sliding_window") else None
    first = layers if window is None else config.size("max_window_layers", least=0)
    derived = ["sliding_attention" if i >= first else "full_attention" for i in range(layers)]
    return layer_windows(config, layers, window, default=derived)


def decoder_blocks(config: Reader, *, tied: bool | None = None) -> tuple[Block, ...]:
    """Qwen2's decoder, also that of Qwen2-VL and Qwen2.5-VL."""
    size = sizes(config)
    shared = norms(BEFORE, size.hidden)
    layers = [
        (
            window_kind(own),
            shared + attention(size, window=own, qkv_bias=True) + gated_mlp(size.hidden, size.inner),
        )
        for own in windows(config, size.layers)
    ]
    return causal_lm(config, layers, tied=tied)


def qwen3_blocks(config: Reader, own_windows: tuple[int | None, ...], *, tied: bool | None = None) -> tuple[Block, ...]:
    """Qwen3's decoder, also that of Qwen3-VL."""
    size, bias = sizes(config), config.flag("attention_bias")
    shared = norms(BEFORE, size.hidden)
    layers = [
        (
            window_kind(own),
            shared
            + attention(size, window=own, qkv_bias=bias, out_bias=bias, extra=head_norms(size))
            + gated_mlp(size.hidden, size.inner),
        )
        for own in own_windows
    ]
    return causal_lm(config, layers, tied=tied)


def _qwen2(config: Reader, options: Options) -> Description:
    return Description(decoder_blocks(config))


def _qwen3(config: Reader, options: Options) -> Description:
    return Description(qwen3_blocks(config, windows(config, config.size("num_hidden_layers"))))


FAMILIES = (
    Family("qwen2", DEFAULTS, _qwen2),
    Family("qwen3", {**DEFAULTS, "head_dim": 128, "attention_bias": False}, _qwen3),
)
