"""EXAONE 4: norms after each part, norms on query and key heads, three sliding layers before each full one."""

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


def _describe(config: Reader, options: Options) -> Description:
    size, window = sizes(config), config.optional_size("sliding_window")
    derived = ["full_attention"] * size.layers
    if window is not None:
        derived = alternating(size.layers, config.size("sliding_window_pattern"))
    layers = [
        (
            window_kind(own),
            attention(size, window=own, extra=head_norms(size))
            + gated_mlp(size.hidden, size.inner)
            + norms(("post_attention_layernorm", "post_feedforward_layernorm"), size.hidden),
        )
        for own in layer_windows(config, size.layers, window, default=derived)
    ]
    return Description(causal_lm(config, layers))


FAMILIES = (
    Family(
        "exaone4",
        {
            **DENSE,
            "vocab_size": 102400,
            "intermediate_size": 16384,
            "num_key_value_heads": 32,
            "sliding_window": 4096,
            "sliding_window_pattern": 4,
            "layer_types": None,
        },
        _describe,
    ),
)
