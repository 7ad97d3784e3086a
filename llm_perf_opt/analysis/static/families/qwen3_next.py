"""Qwen3-Next and the text part of Qwen3.5: three gated-delta layers to one of gated full attention."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import (
    BEFORE,
    DENSE,
    attention,
    causal_lm,
    gated_mlp,
    head_norms,
    norms,
    sizes,
)
from llm_perf_opt.analysis.static.description import Block, Description, Family, Options
from llm_perf_opt.analysis.static.families.qwen_moe import experts, shared_expert, sparse_layers
from llm_perf_opt.analysis.static.operators import Operator
from llm_perf_opt.analysis.static.reader import Reader
from llm_perf_opt.analysis.static.recurrent import gated_delta, layer_kinds

_LINEAR = {
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "layer_types": None,
    "full_attention_interval": None,
}
_COMMON = {**DENSE, **_LINEAR, "attention_bias": False, "num_attention_heads": 16, "head_dim": 256}
_MIXTURE = {"moe_intermediate_size": 512, "shared_expert_intermediate_size": 512}
QWEN35_TEXT = {**_COMMON, "vocab_size": 248320, "intermediate_size": 12288, "num_key_value_heads": 4}
QWEN35_MOE_TEXT = {
    **{key: value for key, value in _COMMON.items() if key != "intermediate_size"},
    **_MIXTURE,
    "vocab_size": 248320,
    "hidden_size": 2048,
    "num_hidden_layers": 40,
    "num_key_value_heads": 2,
    "num_experts_per_tok": 8,
    "num_experts": 256,
}
QWEN35_MOE_ALIASES = {"num_local_experts": "num_experts"}


def _mixers(config: Reader, *, split: bool) -> dict[str, tuple[Operator, ...]]:
    """The two kinds of layers without their MLP; `split` projects queries, gates and decays one by one."""
    size, bias = sizes(config), config.flag("attention_bias")
    key_heads, value_heads = config.size("linear_num_key_heads"), config.size("linear_num_value_heads")
    key_dim, value_dim = config.size("linear_key_head_dim"), config.size("linear_value_head_dim")
    keys, values = key_heads * key_dim, value_heads * value_dim
    if value_heads % key_heads:
        raise config.error(
            "linear_num_value_heads", f"is {value_heads}, no multiple of {key_heads} key heads", "correct one of them"
        )
    fused = (("in_proj_qkvz", 2 * keys + 2 * values), ("in_proj_ba", 2 * value_heads))
    single = (
        ("in_proj_qkv", 2 * keys + values),
        ("in_proj_z", values),
        ("in_proj_b", value_heads),
        ("in_proj_a", value_heads),
    )
    linear = gated_delta(
        "linear_attn",
        size.hidden,
        key_heads=key_heads,
        key_dim=key_dim,
        value_heads=value_heads,
        value_dim=value_dim,
        kernel=config.size("linear_conv_kernel_dim"),
        projections=single if split else fused,
    )
    full = attention(size, qkv_bias=bias, out_bias=bias, gated=True, extra=head_norms(size))
    shared = norms(BEFORE, size.hidden)
    return {"linear_attention": shared + linear, "full_attention": shared + full}


def _kinds(config: Reader, layers: int) -> tuple[str, ...]:
    every = config.optional_size("full_attention_interval") or 4
    derived = ["linear_attention" if (layer + 1) % every else "full_attention" for layer in range(layers)]
    return layer_kinds(config, "layer_types", layers, default=derived)


def _blocks(config: Reader, mlps: list[tuple[Operator, ...]], *, split: bool, tied: bool | None) -> tuple[Block, ...]:
    mixers = _mixers(config, split=split)
    layers = [
        (kind.removesuffix("_attention"), mixers[kind] + mlp)
        for kind, mlp in zip(_kinds(config, len(mlps)), mlps, strict=True)
    ]
    return causal_lm(config, layers, tied=tied)


def _mixture(config: Reader) -> tuple[Operator, ...]:
    hidden = config.size("hidden_size")
    return experts(config, hidden) + shared_expert(config, hidden)


def qwen35_blocks(config: Reader, *, tied: bool | None = None) -> tuple[Block, ...]:
    """The decoder of Qwen3.5, dense or a mixture by the keys it reads."""
    layers = config.size("num_hidden_layers")
    if "num_experts" in config.defaults:
        mlp = _mixture(config)
    else:
        mlp = gated_mlp(config.size("hidden_size"), config.size("intermediate_size"))
    return _blocks(config, [mlp] * layers, split=True, tied=tied)


def _qwen3_next(config: Reader, options: Options) -> Description:
    pattern = sparse_layers(config, config.size("num_hidden_layers"))
    dense = gated_mlp(config.size("hidden_size"), config.size("intermediate_size"))
    mixture = _mixture(config) if any(pattern) else ()
    mlps = [mixture if sparse else dense for sparse in pattern]
    return Description(_blocks(config, mlps, split=False, tied=None))


def _qwen35(config: Reader, options: Options) -> Description:
    return Description(qwen35_blocks(config))


FAMILIES = (
    Family(
        "qwen3_next",
        {
            **_COMMON,
            **_MIXTURE,
            "vocab_size": 151936,
            "hidden_size": 2048,
            "intermediate_size": 5632,
            "num_hidden_layers": 48,
            "num_key_value_heads": 2,
            "decoder_sparse_step": 1,
            "mlp_only_layers": None,
            "num_experts_per_tok": 10,
            "num_experts": 512,
        },
        _qwen3_next,
    ),
    Family("qwen3_5_text", QWEN35_TEXT, _qwen35),
    Family("qwen3_5_moe_text", QWEN35_MOE_TEXT, _qwen35),
)
