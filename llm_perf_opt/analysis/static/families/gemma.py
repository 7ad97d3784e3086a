"""Gemma 1 to 3: gated MLP, tied head; from 2 on four norms a layer and alternating windows, from 3 on head norms."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import (
    BEFORE,
    DENSE,
    alternating,
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
from llm_perf_opt.analysis.static.operators import Operator
from llm_perf_opt.analysis.static.reader import Reader

FOUR_NORMS = (*BEFORE, "pre_feedforward_layernorm", "post_feedforward_layernorm")
GEMMA_COMMON = {**DENSE, "tie_word_embeddings": True, "attention_bias": False, "head_dim": 256}
_SECOND = {
    **GEMMA_COMMON,
    "vocab_size": 256000,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "sliding_window": 4096,
    "layer_types": None,
}
GEMMA3_TEXT = {
    **_SECOND,
    "vocab_size": 262208,
    "use_bidirectional_attention": False,
    # An older spelling that files on the hub still carry; transformers takes 6 where it is absent.
    "sliding_window_pattern": None,
}


def _layers(
    config: Reader, names: tuple[str, ...], windows: tuple[int | None, ...], *, head_norm: bool = False
) -> list[tuple[str, tuple[Operator, ...]]]:
    size, bias = sizes(config, divides=True), config.flag("attention_bias")
    extra = head_norms(size) if head_norm else ()
    return [
        (
            window_kind(own),
            norms(names, size.hidden)
            + attention(size, window=own, qkv_bias=bias, out_bias=bias, extra=extra)
            + gated_mlp(size.hidden, size.inner),
        )
        for own in windows
    ]


def _windows(config: Reader, every: int) -> tuple[int | None, ...]:
    layers = config.size("num_hidden_layers")
    window = config.optional_size("sliding_window")
    return layer_windows(config, layers, window, default=alternating(layers, every))


def gemma3_blocks(config: Reader, *, tied: bool | None = None) -> tuple[Block, ...]:
    """Gemma 3's decoder, with or without a vision tower beside it."""
    if config.flag("use_bidirectional_attention"):
        raise config.not_covered("use_bidirectional_attention", "is true (an encoder)")
    every = config.optional_size("sliding_window_pattern") or 6
    return causal_lm(config, _layers(config, FOUR_NORMS, _windows(config, every), head_norm=True), tied=tied)


def _gemma(config: Reader, options: Options) -> Description:
    return Description(causal_lm(config, _layers(config, BEFORE, (None,) * config.size("num_hidden_layers"))))


def _gemma2(config: Reader, options: Options) -> Description:
    return Description(causal_lm(config, _layers(config, FOUR_NORMS, _windows(config, 2))))


def _gemma3(config: Reader, options: Options) -> Description:
    return Description(gemma3_blocks(config))


FAMILIES = (
    Family(
        "gemma",
        {
            **GEMMA_COMMON,
            "vocab_size": 256000,
            "hidden_size": 3072,
            "intermediate_size": 24576,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 16,
        },
        _gemma,
    ),
    Family("gemma2", _SECOND, _gemma2),
    Family("gemma3_text", GEMMA3_TEXT, _gemma3),
)
