"""Mistral: Llama's layer with one attention window for all layers, or none."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import (
    DENSE_DEFAULTS,
    attention,
    causal_lm,
    gated_mlp,
    head_counts,
    head_size,
    norms,
)
from llm_perf_opt.analysis.static.description import Description, Family, Options
from llm_perf_opt.analysis.static.reader import Reader


def _describe(config: Reader, options: Options) -> Description:
    hidden, layers = config.size("hidden_size"), config.size("num_hidden_layers")
    heads, kv_heads = head_counts(config)
    layer = (
        *norms(("input_layernorm", "post_attention_layernorm"), hidden),
        *attention(hidden, heads, kv_heads, head_size(config), window=config.optional_size("sliding_window")),
        *gated_mlp(hidden, config.size("intermediate_size")),
    )
    tied = config.flag("tie_word_embeddings")
    return Description(causal_lm(config, [("layer", layer)] * layers, hidden=hidden, tied=tied))


FAMILIES = (
    Family(
        "mistral",
        {**DENSE_DEFAULTS, "intermediate_size": 14336, "num_key_value_heads": 8, "sliding_window": 4096},
        _describe,
    ),
)
