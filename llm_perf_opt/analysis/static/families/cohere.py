"""Cohere (Command R): one norm feeds attention and MLP in parallel; Cohere 2 slides three layers in four."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import (
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
from llm_perf_opt.analysis.static.description import Description, Family, Options
from llm_perf_opt.analysis.static.operators import Operator
from llm_perf_opt.analysis.static.reader import Reader

_DEFAULTS = {
    **DENSE,
    "vocab_size": 256000,
    "hidden_size": 8192,
    "intermediate_size": 22528,
    "num_hidden_layers": 40,
    "num_attention_heads": 64,
    "tie_word_embeddings": True,
    "attention_bias": False,
}


def _describe(config: Reader, windows: tuple[int | None, ...], *, head_norm: bool) -> Description:
    size, bias = sizes(config), config.flag("attention_bias")
    extra: tuple[Operator, ...] = head_norms(size, per_head=False) if head_norm else ()
    layers = [
        (
            window_kind(own),
            norms(("input_layernorm",), size.hidden)
            + attention(size, window=own, qkv_bias=bias, out_bias=bias, extra=extra)
            + gated_mlp(size.hidden, size.inner),
        )
        for own in windows
    ]
    return Description(causal_lm(config, layers))


def _cohere(config: Reader, options: Options) -> Description:
    return _describe(config, (None,) * config.size("num_hidden_layers"), head_norm=config.flag("use_qk_norm"))


def _cohere2(config: Reader, options: Options) -> Description:
    layers = config.size("num_hidden_layers")
    derived = alternating(layers, config.optional_size("sliding_window_pattern") or 4)
    windows = layer_windows(config, layers, config.optional_size("sliding_window"), default=derived)
    return _describe(config, windows, head_norm=False)


FAMILIES = (
    Family("cohere", {**_DEFAULTS, "use_qk_norm": False}, _cohere),
    Family(
        "cohere2", {**_DEFAULTS, "sliding_window": 4096, "layer_types": None, "sliding_window_pattern": None}, _cohere2
    ),
)
