"""Llama 4: chunked attention with a full layer in each four, mixtures of routed experts beside a shared one."""

from __future__ import annotations

from llm_perf_opt.analysis.static.decoder import (
    BEFORE,
    DENSE,
    attention,
    causal_lm,
    checked_top_k,
    gated_mlp,
    norms,
    sizes,
)
from llm_perf_opt.analysis.static.description import Block, Description, Family, Options
from llm_perf_opt.analysis.static.operators import Experts, Linear, Operator
from llm_perf_opt.analysis.static.reader import Reader

TEXT = {
    **DENSE,
    "vocab_size": 202048,
    "hidden_size": 5120,
    "intermediate_size": 8192,
    "intermediate_size_mlp": 16384,
    "num_hidden_layers": 48,
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "num_experts_per_tok": 1,
    "num_local_experts": 16,
    "moe_layers": None,
    "interleave_moe_layer_step": 1,
    "no_rope_layers": None,
    "no_rope_layer_interval": 4,
    "attention_chunk_size": 8192,
    "layer_types": None,
    "attention_bias": False,
}


def _chunks(config: Reader, layers: int) -> tuple[int | None, ...]:
    """The chunk of each layer: those with rotary positions are cut, the others see everything."""
    rotary = config.sizes("no_rope_layers") or tuple(
        int((layer + 1) % config.size("no_rope_layer_interval") != 0) for layer in range(layers)
    )
    if len(rotary) < layers:
        raise config.error("no_rope_layers", f"has {len(rotary)} entries for {layers} layers", "give one a layer")
    kinds = config.per_layer("layer_types", layers, ("full_attention", "chunked_attention"))
    derived = ["chunked_attention" if flag else "full_attention" for flag in rotary[:layers]]
    chunk = config.optional_size("attention_chunk_size")
    return tuple(chunk if kind == "chunked_attention" else None for kind in kinds or derived)


def llama4_blocks(config: Reader, *, tied: bool | None = None) -> tuple[Block, ...]:
    """The decoder, with or without a vision tower beside it."""
    size, bias = sizes(config), config.flag("attention_bias")
    step = config.size("interleave_moe_layer_step")
    listed = config.sequence("moe_layers")
    mixtures = set(range(step - 1, size.layers, step) if listed is None else config.sizes("moe_layers"))
    total, chosen = checked_top_k(config, "num_local_experts", "num_experts_per_tok")
    mixture: tuple[Operator, ...] = (
        Linear("feed_forward.router", size.hidden, total, quantizable=False),
        Experts(
            "feed_forward.experts",
            total,
            chosen,
            ((size.hidden, 2 * size.inner), (size.inner, size.hidden)),
            dense=True,
        ),
        *gated_mlp(size.hidden, size.inner, module="feed_forward.shared_expert"),
    )
    dense = gated_mlp(size.hidden, config.size("intermediate_size_mlp"), module="feed_forward")
    layers = [
        (
            f"{'moe' if layer in mixtures else 'dense'},{'full' if chunk is None else 'chunked'}",
            norms(BEFORE, size.hidden)
            + attention(size, window=chunk, chunked=True, qkv_bias=bias, out_bias=bias)
            + (mixture if layer in mixtures else dense),
        )
        for layer, chunk in enumerate(_chunks(config, size.layers))
    ]
    return causal_lm(config, layers, tied=tied)


def _text(config: Reader, options: Options) -> Description:
    return Description(llama4_blocks(config))


FAMILIES = (Family("llama4_text", TEXT, _text),)
