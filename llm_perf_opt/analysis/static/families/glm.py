"""GLM and GLM-4: biases on query, key and value, gate and up in one projection; GLM-4 norms outputs too."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import BEFORE, DENSE, attention, causal_lm, fused_mlp, norms, sizes
from llm_perf_opt.analysis.static.description import Description, Family, Options
from llm_perf_opt.analysis.static.reader import Reader

_DEFAULTS = {
    **DENSE,
    "vocab_size": 151552,
    "intermediate_size": 13696,
    "num_hidden_layers": 40,
    "num_key_value_heads": 2,
    "head_dim": 128,
    "attention_bias": True,
}


def _describe(config: Reader, names: tuple[str, ...]) -> Description:
    size = sizes(config)
    layer = (
        norms(names, size.hidden)
        + attention(size, qkv_bias=config.flag("attention_bias"))
        + fused_mlp(size.hidden, size.inner)
    )
    return Description(causal_lm(config, [("layer", layer)] * size.layers))


def _glm(config: Reader, options: Options) -> Description:
    return _describe(config, BEFORE)


def _glm4(config: Reader, options: Options) -> Description:
    return _describe(config, (*BEFORE, "post_self_attn_layernorm", "post_mlp_layernorm"))


FAMILIES = (Family("glm", _DEFAULTS, _glm), Family("glm4", _DEFAULTS, _glm4))
