"""Phi 1 and 2: attention and a plain MLP in parallel behind one norm, biases everywhere, the head included."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import DENSE, attention, causal_lm, norms, plain_mlp, sizes
from llm_perf_opt.analysis.static.description import Description, Family, Options
from llm_perf_opt.analysis.static.operators import Operator
from llm_perf_opt.analysis.static.reader import Reader


def _describe(config: Reader, options: Options) -> Description:
    size = sizes(config)
    extra: tuple[Operator, ...] = ()
    if config.flag("qk_layernorm"):
        extra = norms(("self_attn.q_layernorm", "self_attn.k_layernorm"), size.hidden // size.heads, bias=True)
    layer = (
        norms(("input_layernorm",), size.hidden, bias=True)
        + attention(size, qkv_bias=True, out_bias=True, output="dense", extra=extra)
        + plain_mlp(size.hidden, size.inner, bias=True, up="fc1", down="fc2")
    )
    return Description(causal_lm(config, [("layer", layer)] * size.layers, norm_bias=True, head_bias=True))


FAMILIES = (
    Family(
        "phi",
        {
            **DENSE,
            "vocab_size": 51200,
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "num_hidden_layers": 24,
            "qk_layernorm": False,
        },
        _describe,
    ),
)
