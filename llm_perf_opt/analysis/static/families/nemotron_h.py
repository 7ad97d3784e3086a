"""Nemotron-H and Nemotron 3: each layer is one of Mamba 2, attention, a plain MLP or a mixture of plain experts."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import (
    Sizes,
    attention,
    checked_top_k,
    embedding,
    final_norm,
    head,
    head_counts,
    norms,
    plain_mlp,
    stack,
)
from llm_perf_opt.analysis.static.description import Description, Family, Options
from llm_perf_opt.analysis.static.operators import Experts, Linear, Operator
from llm_perf_opt.analysis.static.reader import Reader
from llm_perf_opt.analysis.static.recurrent import LAYER_TYPES, layer_kinds, mamba2

_LETTERS = {"M": "linear_attention", "E": "moe", "*": "full_attention", "-": "mlp"}
_NAMES = {"linear_attention": "mamba", "full_attention": "attention"}


def _kinds(config: Reader) -> tuple[str, ...]:
    listed = config.sequence("layers_block_type")
    if listed is None and config.get("hybrid_override_pattern") is not None:
        pattern = config.text("hybrid_override_pattern")
        if not pattern or set(pattern) - set(_LETTERS):
            raise config.error("hybrid_override_pattern", f"is {pattern!r}", f"use the letters {' '.join(_LETTERS)}")
        return tuple(_LETTERS[letter] for letter in pattern)
    default = ("linear_attention", "moe", "full_attention", "mlp")
    count = len(default if listed is None else listed)
    return layer_kinds(config, "layers_block_type", count, default=default, allowed=(*LAYER_TYPES, "moe", "mlp"))


def _mixture(config: Reader, hidden: int, bias: bool) -> tuple[Operator, ...]:
    inner, latent = config.size("moe_intermediate_size"), config.optional_size("moe_latent_size")
    total, chosen = checked_top_k(config, "n_routed_experts", "num_experts_per_tok")
    width = latent or hidden
    down = (Linear("mixer.fc1_latent_proj", hidden, width, bias),) if latent else ()
    up = (Linear("mixer.fc2_latent_proj", width, hidden, bias),) if latent else ()
    return (
        Linear("mixer.gate", hidden, total, quantizable=False),
        *down,
        Experts("mixer.experts", total, chosen, ((width, inner), (inner, width))),
        *up,
        *plain_mlp(
            hidden, config.size("moe_shared_expert_intermediate_size"), bias=bias, module="mixer.shared_experts"
        ),
    )


def _sizes(config: Reader) -> Sizes:
    heads, kv_heads = head_counts(config)
    # The number of layers is that of their kinds.
    return Sizes(
        config.size("hidden_size"), 0, heads, kv_heads, config.size("head_dim"), config.size("intermediate_size")
    )


def _mixer(config: Reader, kind: str) -> tuple[Operator, ...]:
    size, bias = _sizes(config), config.flag("mlp_bias")
    if kind == "full_attention":
        return attention(size, module="mixer")
    if kind == "mlp":
        return plain_mlp(size.hidden, size.inner, bias=bias, module="mixer")
    if kind == "moe":
        return _mixture(config, size.hidden, bias)
    return mamba2(
        "mixer",
        size.hidden,
        heads=config.size("mamba_num_heads"),
        head_dim=config.size("mamba_head_dim"),
        groups=config.size("n_groups"),
        state=config.size("ssm_state_size"),
        kernel=config.size("conv_kernel"),
        bias=config.flag("use_bias"),
        conv_bias=config.flag("use_conv_bias"),
    )


def _describe(config: Reader, options: Options) -> Description:
    kinds, hidden, vocabulary = _kinds(config), config.size("hidden_size"), config.size("vocab_size")
    mixers = {kind: norms(("norm",), hidden) + _mixer(config, kind) for kind in set(kinds)}
    blocks = (
        embedding(vocabulary, hidden, "embeddings"),
        *stack([(_NAMES.get(kind, kind), mixers[kind]) for kind in kinds]),
        final_norm(hidden, name="norm_f"),
        # transformers ties nothing here, whatever the file says.
        head(hidden, vocabulary, tied=False),
    )
    return Description(blocks, notes=("multi-token-prediction layers are not part of the model transformers runs",))


FAMILIES = (
    Family(
        "nemotron_h",
        {
            "vocab_size": 131072,
            "hidden_size": 4096,
            "intermediate_size": 21504,
            "layers_block_type": None,
            "hybrid_override_pattern": None,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "mlp_bias": False,
            "ssm_state_size": 128,
            "mamba_num_heads": 128,
            "mamba_head_dim": 64,
            "n_groups": 8,
            "conv_kernel": 4,
            "use_conv_bias": True,
            "use_bias": False,
            "n_routed_experts": 8,
            "moe_intermediate_size": 7688,
            "moe_shared_expert_intermediate_size": 7688,
            "moe_latent_size": None,
            "num_experts_per_tok": 2,
        },
        _describe,
        aliases={"layer_types": "layers_block_type", "num_local_experts": "n_routed_experts"},
    ),
)
