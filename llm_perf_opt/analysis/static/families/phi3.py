"""Phi-3: query, key and value in one projection, gate and up in another."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import DENSE_DEFAULTS, attention, causal_lm, head_counts, norms
from llm_perf_opt.analysis.static.description import Description, Family, Options
from llm_perf_opt.analysis.static.operators import Linear
from llm_perf_opt.analysis.static.reader import Reader


def _describe(config: Reader, options: Options) -> Description:
    hidden, layers = config.size("hidden_size"), config.size("num_hidden_layers")
    heads, kv_heads = head_counts(config)
    head_dim = config.divides("hidden_size", "num_attention_heads")
    inner = config.size("intermediate_size")
    window = config.optional_size("sliding_window")
    layer = (
        *norms(("input_layernorm", "post_attention_layernorm"), hidden),
        *attention(hidden, heads, kv_heads, head_dim, window=window, fused="qkv_proj"),
        Linear("mlp.gate_up_proj", hidden, 2 * inner),
        Linear("mlp.down_proj", inner, hidden),
    )
    tied = config.flag("tie_word_embeddings")
    return Description(causal_lm(config, [("layer", layer)] * layers, hidden=hidden, tied=tied))


_DEFAULTS = {
    **{key: value for key, value in DENSE_DEFAULTS.items() if key != "head_dim"},
    "vocab_size": 32064,
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "sliding_window": None,
}

FAMILIES = (Family("phi3", _DEFAULTS, _describe),)
