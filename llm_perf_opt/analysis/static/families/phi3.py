"""Phi-3: query, key and value in one projection, gate and up in another."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import BEFORE, DENSE, attention, causal_lm, fused_mlp, norms, sizes
from llm_perf_opt.analysis.static.description import Description, Family, Options
from llm_perf_opt.analysis.static.reader import Reader


def _describe(config: Reader, options: Options) -> Description:
    size = sizes(config)
    layer = (
        norms(BEFORE, size.hidden)
        + attention(size, window=config.optional_size("sliding_window"), fused="qkv_proj")
        + fused_mlp(size.hidden, size.inner)
    )
    return Description(causal_lm(config, [("layer", layer)] * size.layers))


FAMILIES = (
    Family(
        "phi3",
        {**DENSE, "vocab_size": 32064, "hidden_size": 3072, "intermediate_size": 8192, "sliding_window": None},
        _describe,
    ),
)
