"""Nemotron: layer norms with an offset, plain squared-ReLU MLP."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import BEFORE, DENSE, attention, causal_lm, norms, plain_mlp, sizes
from llm_perf_opt.analysis.static.description import Description, Family, Options
from llm_perf_opt.analysis.static.reader import Reader


def _describe(config: Reader, options: Options) -> Description:
    size, bias = sizes(config), config.flag("attention_bias")
    layer = (
        norms(BEFORE, size.hidden, bias=True)
        + attention(size, qkv_bias=bias, out_bias=bias)
        + plain_mlp(size.hidden, size.inner, bias=config.flag("mlp_bias"))
    )
    return Description(causal_lm(config, [("layer", layer)] * size.layers, norm_bias=True))


FAMILIES = (
    Family(
        "nemotron",
        {
            **DENSE,
            "vocab_size": 256000,
            "hidden_size": 6144,
            "intermediate_size": 24576,
            "num_attention_heads": 48,
            "attention_bias": False,
            "mlp_bias": False,
        },
        _describe,
    ),
)
