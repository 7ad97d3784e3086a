"""Llama and what is built exactly like it: grouped-query attention, gated MLP, RMS norms, rotary positions."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import DENSE_DEFAULTS, attention, causal_lm, gated_mlp, head_counts, head_size
from llm_perf_opt.analysis.static.decoder import norms as norm_ops
from llm_perf_opt.analysis.static.description import Description, Family, Options
from llm_perf_opt.analysis.static.reader import Reader


def _describe(config: Reader, options: Options) -> Description:
    hidden, layers = config.size("hidden_size"), config.size("num_hidden_layers")
    heads, kv_heads = head_counts(config)
    config.divides("hidden_size", "num_attention_heads")
    bias, mlp_bias = config.flag("attention_bias"), config.flag("mlp_bias")
    layer = (
        *norm_ops(("input_layernorm", "post_attention_layernorm"), hidden),
        *attention(hidden, heads, kv_heads, head_size(config), qkv_bias=bias, out_bias=bias),
        *gated_mlp(hidden, config.size("intermediate_size"), bias=mlp_bias),
    )
    tied = config.flag("tie_word_embeddings")
    return Description(causal_lm(config, [("full", layer)] * layers, hidden=hidden, tied=tied))


FAMILIES = (Family("llama", {**DENSE_DEFAULTS, "attention_bias": False, "mlp_bias": False}, _describe),)
