"""Gemma 4: wider heads in full layers, keys as values, optional mixtures and per-layer embeddings; its vision tower."""

from __future__ import annotations

import math
from collections import Counter
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
from llm_perf_opt.analysis.static.description import Block, Description, Family, ImageSize, Options, Vision
from llm_perf_opt.analysis.static.families.gemma import FOUR_NORMS, GEMMA_COMMON
from llm_perf_opt.analysis.static.families.gemma3n import per_layer_inputs, reusing_layers, without_own_cache
from llm_perf_opt.analysis.static.operators import EncoderAttention, Experts, Linear, Operator, Product, Table, Vector
from llm_perf_opt.analysis.static.reader import Reader
from llm_perf_opt.analysis.static.vision import sub_reader

_MIXED_NORMS = ("post_feedforward_layernorm_1", "post_feedforward_layernorm_2", "pre_feedforward_layernorm_2")
_SOFT_TOKENS = 280
"""Image tokens at most, where the model directory's processor names no other number."""


def _overrides(config: Reader, size: Sizes, windows: Sequence[int | None], same: bool) -> dict[int, Sizes]:
    """Heads of the layers that differ: as listed, else those of all full layers."""
    listed: Mapping[str, Any] = config.mapping("per_layer_config")
    if listed:
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


def _grid(image: ImageSize, patch: int, pool: int) -> tuple[int, int]:
    """Columns and rows of patches of an image scaled to the budget, in whole pools, its shape kept."""
    side, budget = pool * patch, _SOFT_TOKENS * pool**2
    factor = math.sqrt(budget * patch**2 / (image[0] * image[1]))
    columns, rows = (math.floor(factor * length / side) for length in image)
    if rows == 0:
        rows, columns = 1, min(image[0] // image[1], _SOFT_TOKENS)
    elif columns == 0:
        columns, rows = 1, min(image[1] // image[0], _SOFT_TOKENS)
    return columns * pool, rows * pool


def _tower(vision: Reader, grids: Sequence[tuple[int, int]], hidden: int) -> tuple[Block, ...]:
    size, pool, patch = sizes(vision), vision.size("pooling_kernel_size"), vision.size("patch_size")
    counts = Counter(columns * rows for columns, rows in grids)
    rows = sum(counts.elements())
    queries, keys = size.heads * size.head_dim, size.kv_heads * size.head_dim
    module = "self_attn"
    layer: tuple[Operator, ...] = (
        *norms(FOUR_NORMS, size.hidden),
        Linear(f"{module}.q_proj", size.hidden, queries, rows=rows),
        Linear(f"{module}.k_proj", size.hidden, keys, rows=rows),
        Linear(f"{module}.v_proj", size.hidden, keys, rows=rows),
        Vector(f"{module}.q_norm,k_norm", 2 * size.head_dim),
        EncoderAttention(
            f"{module}.attention", size.heads, size.head_dim, tuple((n, many) for many, n in sorted(counts.items()))
        ),
        Linear(f"{module}.o_proj", queries, size.hidden, rows=rows),
        *(
            Linear(f"mlp.{name}", *shape, rows=rows)
            for name, shape in (
                ("gate_proj", (size.hidden, size.inner)),
                ("up_proj", (size.hidden, size.inner)),
                ("down_proj", (size.inner, size.hidden)),
            )
        ),
    )
    pooled = [
        Product(f"pooler[{many}]", number, many // pool**2, size.hidden, many)
        for many, number in sorted(counts.items())
        if pool > 1
    ]
    table = 2 * vision.size("position_embedding_size")
    return (
        Block(
            "vision_tower.patch_embedder",
            (
                Linear("input_proj", 3 * patch**2, size.hidden, rows=rows),
                Table("position_embedding_table", table, size.hidden, gathered=2 * rows),
            ),
        ),
        Block("vision_tower.layers", layer, size.layers),
        Block("vision_tower.pooler", tuple(pooled)),
        Block("embed_vision", (Linear("embedding_projection", size.hidden, hidden, rows=rows // pool**2),)),
    )


def _text(config: Reader, options: Options) -> Description:
    return Description(gemma4_blocks(config))


def _with_vision(config: Reader, options: Options) -> Description:
    text = sub_reader(config, "text_config", _TEXT)
    blocks = gemma4_blocks(text, tied=config.flag("tie_word_embeddings"))
    audio = "the audio tower is not described" if config.get("audio_config") is not None else ""
    if config.get("vision_config") is None:
        return Description(blocks, uncounted=audio)
    vision = sub_reader(config, "vision_config", _VISION)
    patch, pool = vision.size("patch_size"), vision.size("pooling_kernel_size")

    def see(images: Sequence[ImageSize]) -> Vision:
        if options.views is not None:
            grids = [(width // patch, height // patch) for width, height in options.views]
        else:
            grids = [_grid(image, patch, pool) for image in images]
        tokens = sum(columns * rows for columns, rows in grids) // pool**2
        note = f"images scaled to {_SOFT_TOKENS} tokens at most; padding of the batch is not counted"
        return Vision(_tower(vision, grids, text.size("hidden_size")), tokens, (note,))

    note = "image tokens attend each other in both directions in sliding layers; only earlier ones are counted"
    return Description(blocks, vision=see, notes=(note,), uncounted=audio)


_TEXT = {
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
_VISION = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 16,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "head_dim": 64,
    "pooling_kernel_size": 3,
    "patch_size": 16,
    "position_embedding_size": 10240,
}

FAMILIES = (
    Family("gemma4_text", _TEXT, _text),
    Family(
        "gemma4",
        {"text_config": None, "vision_config": None, "audio_config": None, "tie_word_embeddings": True},
        _with_vision,
    ),
)
