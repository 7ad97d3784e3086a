"""StableLM: layer norms, gated MLP, optionally one norm per head and attention beside the MLP."""

from __future__ import annotations

from dataclasses import replace

from llm_perf_opt.analysis.static.decoder import DENSE, attention, causal_lm, gated_mlp, norms, sizes
from llm_perf_opt.analysis.static.description import Description, Family, Options
from llm_perf_opt.analysis.static.operators import Operator, Vector
from llm_perf_opt.analysis.static.reader import Reader


def _describe(config: Reader, options: Options) -> Description:
    size = sizes(config, divides=True)
    size = replace(size, head_dim=size.hidden // size.heads)
    extra: tuple[Operator, ...] = ()
    if config.flag("qk_layernorm"):
        extra = (
            Vector("self_attn.q_layernorm", size.heads * size.head_dim),
            Vector("self_attn.k_layernorm", size.kv_heads * size.head_dim),
        )
    parallel = config.flag("use_parallel_residual")
    names = ("input_layernorm",) if parallel else ("input_layernorm", "post_attention_layernorm")
    layer = (
        norms(names, size.hidden, bias=True)
        + attention(size, qkv_bias=config.flag("use_qkv_bias"), extra=extra)
        + gated_mlp(size.hidden, size.inner)
    )
    return Description(causal_lm(config, [("layer", layer)] * size.layers, norm_bias=True))


FAMILIES = (
    Family(
        "stablelm",
        {
            **DENSE,
            "vocab_size": 50304,
            "hidden_size": 2560,
            "intermediate_size": 6912,
            "num_key_value_heads": 32,
            "use_qkv_bias": False,
            "qk_layernorm": False,
            "use_parallel_residual": False,
        },
        _describe,
    ),
)
