"""Falcon-H1 and Granite 4: Mamba 2 beside attention in every layer, or in most layers instead of it."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import (
    BEFORE,
    DENSE,
    attention,
    causal_lm,
    gated_mlp,
    norms,
    routed_experts,
    sizes,
)
from llm_perf_opt.analysis.static.description import Description, Family, Options
from llm_perf_opt.analysis.static.operators import Linear, Operator
from llm_perf_opt.analysis.static.reader import Reader
from llm_perf_opt.analysis.static.recurrent import layer_kinds, mamba2


def _mixer(config: Reader, inner: int, *, out_bias: bool, norm: bool) -> tuple[Operator, ...]:
    heads = config.size("mamba_n_heads")
    given = None if config.get("mamba_d_head") == "auto" else config.size("mamba_d_head")
    head_dim = given or inner // heads
    if heads * head_dim != inner:
        raise config.error(
            "mamba_n_heads", f"is {heads}: heads of {head_dim} do not make {inner}", "correct one of them"
        )
    return mamba2(
        "mamba",
        config.size("hidden_size"),
        heads=heads,
        head_dim=head_dim,
        groups=config.size("mamba_n_groups"),
        state=config.size("mamba_d_state"),
        kernel=config.size("mamba_d_conv"),
        bias=config.flag("mamba_proj_bias"),
        out_bias=out_bias,
        conv_bias=config.flag("mamba_conv_bias"),
        norm=norm,
    )


def _falcon_h1(config: Reader, options: Options) -> Description:
    size, bias = sizes(config), config.flag("attention_bias")
    expanded = config.size("mamba_expand") * size.hidden
    inner = config.optional_size("mamba_d_ssm") or expanded
    layer = (
        norms(("input_layernorm", "pre_ff_layernorm"), size.hidden)
        + _mixer(config, inner, out_bias=config.flag("projectors_bias"), norm=config.flag("mamba_rms_norm"))
        + attention(size, qkv_bias=bias, out_bias=bias)
        + gated_mlp(size.hidden, size.inner, bias=config.flag("mlp_bias"), module="feed_forward")
    )
    return Description(causal_lm(config, [("layer", layer)] * size.layers))


def _granite(config: Reader, options: Options) -> Description:
    size, bias = sizes(config), config.flag("attention_bias")
    shared = config.size("shared_intermediate_size")
    mlp: tuple[Operator, ...] = (
        Linear("shared_mlp.input_linear", size.hidden, 2 * shared),
        Linear("shared_mlp.output_linear", shared, size.hidden),
    )
    if config.size("num_local_experts", least=0):
        routed = routed_experts(
            config,
            size.hidden,
            size.inner,
            count="num_local_experts",
            top_k="num_experts_per_tok",
            router="block_sparse_moe.router",
            experts="block_sparse_moe.experts",
        )
        mlp = routed + mlp
    kinds = layer_kinds(config, "layer_types", size.layers, default=("linear_attention",) * size.layers)
    inner, proj_bias = config.size("mamba_expand") * size.hidden, config.flag("mamba_proj_bias")
    shared_norms = norms(BEFORE, size.hidden)
    mixers = {
        "full_attention": shared_norms + attention(size, qkv_bias=bias, out_bias=bias) + mlp,
        "linear_attention": shared_norms + _mixer(config, inner, out_bias=proj_bias, norm=True) + mlp,
    }
    named = {"full_attention": "attention", "linear_attention": "mamba"}
    return Description(causal_lm(config, [(named[kind], mixers[kind]) for kind in kinds]))


_MAMBA = {
    "mamba_n_heads": 128,
    "mamba_d_head": "auto",
    "mamba_n_groups": 1,
    "mamba_d_state": 256,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "mamba_conv_bias": True,
    "mamba_proj_bias": False,
}

FAMILIES = (
    Family(
        "falcon_h1",
        {
            **DENSE,
            **_MAMBA,
            "vocab_size": 128000,
            "intermediate_size": 14336,
            "num_key_value_heads": 8,
            "mamba_d_ssm": 1024,
            "mamba_rms_norm": False,
            "projectors_bias": False,
            "attention_bias": False,
            "mlp_bias": False,
        },
        _falcon_h1,
    ),
    Family(
        "granitemoehybrid",
        {
            **DENSE,
            **_MAMBA,
            "attention_bias": False,
            "num_local_experts": 8,
            "num_experts_per_tok": 2,
            "shared_intermediate_size": 1024,
            "layer_types": None,
        },
        _granite,
        aliases={"layers_block_type": "layer_types"},
    ),
)
