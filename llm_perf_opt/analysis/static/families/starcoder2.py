"""StarCoder2: layer norms, plain MLP, biases by one switch."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import BEFORE, DENSE, attention, causal_lm, norms, plain_mlp, sizes
from llm_perf_opt.analysis.static.description import Description, Family, Options
from llm_perf_opt.analysis.static.reader import Reader


def _describe(config: Reader, options: Options) -> Description:
    size, bias = sizes(config), config.flag("use_bias")
    layer = (
        norms(BEFORE, size.hidden, bias=True)
        + attention(size, window=config.optional_size("sliding_window"), qkv_bias=bias, out_bias=bias)
        + plain_mlp(size.hidden, size.inner, bias=bias, up="c_fc", down="c_proj")
    )
    return Description(causal_lm(config, [("layer", layer)] * size.layers, norm_bias=True))


FAMILIES = (
    Family(
        "starcoder2",
        {
            **DENSE,
            "vocab_size": 49152,
            "hidden_size": 3072,
            "intermediate_size": 12288,
            "num_hidden_layers": 30,
            "num_attention_heads": 24,
            "num_key_value_heads": 2,
            "sliding_window": None,
            "use_bias": True,
            "tie_word_embeddings": True,
        },
        _describe,
    ),
)
