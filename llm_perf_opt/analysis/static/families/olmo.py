"""OLMo 1 to 3: norms without weights, then norms after each part with norms over all query and key heads."""

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
from llm_perf_opt.analysis.static.reader import Reader

_DEFAULTS = {**DENSE, "vocab_size": 50304, "attention_bias": False}


def _olmo(config: Reader, options: Options) -> Description:
    size, bias = sizes(config), config.flag("attention_bias")
    layer = attention(size, qkv_bias=bias, out_bias=bias) + gated_mlp(size.hidden, size.inner)
    return Description(causal_lm(config, [("layer", layer)] * size.layers, norm_size=0))


def _later(config: Reader, windows: tuple[int | None, ...]) -> Description:
    size, bias = sizes(config), config.flag("attention_bias")
    extra = head_norms(size, per_head=False)
    layers = [
        (
            window_kind(own),
            attention(size, window=own, qkv_bias=bias, out_bias=bias, extra=extra)
            + gated_mlp(size.hidden, size.inner)
            + norms(("post_attention_layernorm", "post_feedforward_layernorm"), size.hidden),
        )
        for own in windows
    ]
    return Description(causal_lm(config, layers))


def _olmo2(config: Reader, options: Options) -> Description:
    return _later(config, (None,) * config.size("num_hidden_layers"))


def _olmo3(config: Reader, options: Options) -> Description:
    layers, window = config.size("num_hidden_layers"), config.optional_size("sliding_window")
    return _later(config, layer_windows(config, layers, window, default=alternating(layers, 4)))


FAMILIES = (
    Family("olmo", _DEFAULTS, _olmo),
    Family("olmo2", _DEFAULTS, _olmo2),
    Family("olmo3", {**_DEFAULTS, "sliding_window": 4096, "layer_types": None}, _olmo3),
)
