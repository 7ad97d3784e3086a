"""Gemma 4: wider heads in full layers, keys as values, optional mixtures and per-layer embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llm_perf_opt.analysis.static.decoder import (
    Sizes,
    alternating,
    attention,
    checked_top_k,
    embedding,
    final_norm,
    gated_mlp,
    head,
    last_positions,
    layer_windows,
    norms,
    sizes,
    stack,
    window_kind,
)
from llm_perf_opt.analysis.static.description import Block, Description, Family, Options
from llm_perf_opt.analysis.static.families.gemma import FOUR_NORMS, GEMMA_COMMON
from llm_perf_opt.analysis.static.families.gemma3n import per_layer_inputs, reusing_layers, without_own_cache
from llm_perf_opt.analysis.static.operators import Experts, Linear, Operator, Vector
from llm_perf_opt.analysis.static.reader import Reader

_MIXED_NORMS = ("post_feedforward_layernorm_1", "post_feedforward_layernorm_2", "pre_feedforward_layernorm_2")


def _overrides(config: Reader, size: Sizes, windows: Sequence[int | None], same: bool) -> dict[int, Sizes]:
    """Heads of the layers that differ: as listed, also where none is; without a list those of all full layers."""
    if "per_layer_config" in config.values:
        listed: Mapping[str, Any] = config.mapping("per_layer_config")
        found = {}
        for index, changes in listed.items():
            if not str(index).isdigit() or not isinstance(changes, Mapping) or set(changes) - _OVERRIDABLE:
                raise config.not_covered("per_layer_config", f"has an entry {index!r} of another kind")
            one = Reader({**config.values, **changes}, config.defaults, where=config.where, prefix=config.prefix)
            found[int(index)] = sizes(one)
        return found
    width = config.optional_size("global_head_dim") or 512
    heads = config.optional_size("num_global_key_value_heads") if same else None
    wide = replace(size, head_dim=width, kv_heads=heads or size.kv_heads)
    return {layer: wide for layer, window in enumerate(windows) if window is None}


_OVERRIDABLE = {"head_dim", "num_key_value_heads"}


def _mixer(size: Sizes, window: int | None, *, bias: bool, keys_are_values: bool) -> tuple[Operator, ...]:
    head_norm = (Vector("self_attn.q_norm", size.head_dim), Vector("self_attn.k_norm", size.head_dim))
    made = attention(size, window=window, qkv_bias=bias, out_bias=bias, extra=head_norm)
    return tuple(op for op in made if not (keys_are_values and op.name == "self_attn.v_proj"))


def _mixture(config: Reader, hidden: int) -> tuple[Operator, ...]:
    total, chosen = checked_top_k(config, "num_experts", "top_k_experts")
    inner = config.size("moe_intermediate_size")
    return (
        Linear("router.proj", hidden, total, quantizable=False),
        Vector("router.scale,per_expert_scale", hidden + total),
        Experts("experts", total, chosen, ((hidden, 2 * inner), (inner, hidden))),
        *norms(_MIXED_NORMS, hidden),
    )


def gemma4_blocks(config: Reader, *, tied: bool | None = None) -> tuple[Block, ...]:
    """The text decoder."""
    if config.get("use_bidirectional_attention") == "all":
        raise config.not_covered("use_bidirectional_attention", "is 'all' (an encoder)")
    size, bias, same = sizes(config), config.flag("attention_bias"), config.flag("attention_k_eq_v")
    kinds = config.per_layer("layer_types", size.layers, ("full_attention", "sliding_attention"))
    # transformers makes the last layer a full one whatever is listed.
    derived = [*(kinds or alternating(size.layers, 6))[:-1], "full_attention"]
    listed = Reader({**config.values, "layer_types": derived}, config.defaults, where=config.where)
    windows = layer_windows(listed, size.layers, config.optional_size("sliding_window"))
    overrides = _overrides(config, size, windows, same)
    around = norms(FOUR_NORMS, size.hidden)
    if config.flag("enable_moe_block"):
        around += _mixture(config, size.hidden)
    inputs, each = per_layer_inputs(config, size.hidden, size.layers)
    around += each
    layers = []
    for layer, (own, reuses) in enumerate(zip(windows, reusing_layers(config, windows), strict=True)):
        mixer = _mixer(overrides.get(layer, size), own, bias=bias, keys_are_values=same and own is None)
        inner = size.inner * (2 if reuses and config.flag("use_double_wide_mlp") else 1)
        mlp = gated_mlp(size.hidden, inner)
        kind = window_kind(own) + (",shared" if reuses else "")
        # What follows the last keys and values matters to the wanted logits alone.
        layer_of = last_positions(without_own_cache(mixer) + mlp + around) if reuses else mixer + mlp + around
        layers.append((kind, layer_of))
    vocabulary = config.size("vocab_size")
    shared_head = config.flag("tie_word_embeddings") if tied is None else tied
    return (
        embedding(vocabulary, size.hidden),
        *inputs,
        *stack(layers),
        final_norm(size.hidden),
        head(size.hidden, vocabulary, tied=shared_head),
    )


def _text(config: Reader, options: Options) -> Description:
    return Description(gemma4_blocks(config))


TEXT = {
    **GEMMA_COMMON,
    "vocab_size": 262144,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 30,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "sliding_window": 512,
    "layer_types": None,
    "use_bidirectional_attention": None,
    "vocab_size_per_layer_input": 262144,
    "hidden_size_per_layer_input": 256,
    "attention_k_eq_v": False,
    "num_kv_shared_layers": 0,
    "enable_moe_block": False,
    "use_double_wide_mlp": False,
    "num_experts": None,
    "top_k_experts": None,
    "moe_intermediate_size": None,
    "global_head_dim": None,
    "num_global_key_value_heads": None,
    "per_layer_config": None,
}
FAMILIES = (Family("gemma4_text", TEXT, _text),)
