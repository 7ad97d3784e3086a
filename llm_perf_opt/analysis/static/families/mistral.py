"""Mistral (one window for all layers, or none) and Ministral (a window per layer)."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import (
    BEFORE,
    DENSE,
    attention,
    causal_lm,
    gated_mlp,
    layer_windows,
    norms,
    sizes,
    window_kind,
)
from llm_perf_opt.analysis.static.description import Description, Family, Options
from llm_perf_opt.analysis.static.reader import Reader

DEFAULTS = {**DENSE, "intermediate_size": 14336, "num_key_value_heads": 8, "sliding_window": 4096}


def _describe(config: Reader, own_windows: tuple[int | None, ...]) -> Description:
    size = sizes(config)
    layers = [
        (
            window_kind(own),
            norms(BEFORE, size.hidden) + attention(size, window=own) + gated_mlp(size.hidden, size.inner),
        )
        for own in own_windows
    ]
    return Description(causal_lm(config, layers))


def _mistral(config: Reader, options: Options) -> Description:
    window, layers = config.optional_size("sliding_window"), config.size("num_hidden_layers")
    return _describe(config, (window,) * layers)


def _ministral(config: Reader, options: Options) -> Description:
    window, layers = config.optional_size("sliding_window"), config.size("num_hidden_layers")
    derived = ["full_attention" if window is None else "sliding_attention"] * layers
    return _describe(config, layer_windows(config, layers, window, default=derived))


FAMILIES = (
    Family("mistral", DEFAULTS, _mistral),
    Family("ministral", {**DEFAULTS, "layer_types": None}, _ministral),
)
