"""Granite-MoE, with and without a shared expert."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import BEFORE, DENSE, attention, causal_lm, norms, routed_experts, sizes
from llm_perf_opt.analysis.static.description import Description, Family, Options
from llm_perf_opt.analysis.static.operators import Linear, Operator
from llm_perf_opt.analysis.static.reader import Reader


def _describe(config: Reader, options: Options) -> Description:
    size, bias = sizes(config), config.flag("attention_bias")
    experts = routed_experts(
        config,
        size.hidden,
        size.inner,
        count="num_local_experts",
        top_k="num_experts_per_tok",
        router="block_sparse_moe.router",
        experts="block_sparse_moe.experts",
    )
    shared: tuple[Operator, ...] = ()
    if "shared_intermediate_size" in config.defaults and config.size("shared_intermediate_size", least=0):
        inner = config.size("shared_intermediate_size")
        shared = (
            Linear("shared_mlp.input_linear", size.hidden, 2 * inner),
            Linear("shared_mlp.output_linear", inner, size.hidden),
        )
    layer = norms(BEFORE, size.hidden) + attention(size, qkv_bias=bias, out_bias=bias) + experts + shared
    return Description(causal_lm(config, [("layer", layer)] * size.layers))


_DEFAULTS = {**DENSE, "attention_bias": False, "num_local_experts": 8, "num_experts_per_tok": 2}

FAMILIES = (
    Family("granitemoe", _DEFAULTS, _describe),
    Family("granitemoeshared", {**_DEFAULTS, "shared_intermediate_size": 0}, _describe),
)
