"""Qwen3-VL, dense and mixture: full attention in the ViT, features of some layers merged into the decoder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from llm_perf_opt.analysis.static.description import Block, Description, Family, ImageSize, Options, Vision
from llm_perf_opt.analysis.static.families.qwen2 import qwen3_blocks
from llm_perf_opt.analysis.static.families.qwen2_vl import Grid, flat_text, is_tied, patch_grids
from llm_perf_opt.analysis.static.families.qwen_moe import QWEN3_MOE, QWEN3_MOE_ALIASES, qwen3_moe_blocks
from llm_perf_opt.analysis.static.operators import Convolution, Linear, Operator, Table, Vector
from llm_perf_opt.analysis.static.reader import Reader
from llm_perf_opt.analysis.static.vision import encoder_layer, one_size, sub_reader

TEXT = {
    "vocab_size": 151936,
    "hidden_size": 4096,
    "intermediate_size": 22016,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "head_dim": 128,
    "attention_bias": False,
    "tie_word_embeddings": None,
}
VISION = {
    "depth": 27,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_heads": 16,
    "in_channels": 3,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "out_hidden_size": 3584,
    "num_position_embeddings": 2304,
    "deepstack_visual_indexes": [8, 16, 24],
}
_LIMITS = (56 * 56, 28 * 28 * 1280)


def _merger(width: int, inner: int, out: int, cells: int, norm: int) -> tuple[Operator, ...]:
    return (
        Vector("norm", 2 * norm),
        Linear("linear_fc1", inner, inner, True, cells),
        Linear("linear_fc2", inner, out, True, cells),
    )


def _not_run(operators: Sequence[Operator]) -> tuple[Operator, ...]:
    """The weights of a merger that no layer hands anything to."""
    linear = (replace(op, rows=0) for op in operators if isinstance(op, Linear))
    return (*linear, *(replace(op, skipped=True) for op in operators if isinstance(op, Vector)))


def _blocks(vision: Reader, grids: Sequence[Grid]) -> tuple[Block, ...]:
    width, heads, merge = vision.size("hidden_size"), vision.size("num_heads"), vision.size("spatial_merge_size")
    vision.divides("hidden_size", "num_heads")
    patches = [columns * rows for columns, rows in grids]
    rows, cells = sum(patches), sum(patches) // merge**2
    kernel = one_size(vision, "temporal_patch_size") * one_size(vision, "patch_size") ** 2
    # Positions are interpolated from four table entries per patch.
    start = (
        Convolution("patch_embed", vision.size("in_channels"), width, kernel, rows, bias=True),
        Table("pos_embed", vision.size("num_position_embeddings"), width, gathered=4 * rows),
    )
    layer = encoder_layer(
        width,
        heads,
        vision.size("intermediate_size"),
        rows,
        tuple((count, size) for size, count in sorted(Counter(patches).items())),
        fused="qkv",
        output="proj",
        norms=("norm1", "norm2"),
        module="attn",
        mlp=("mlp.linear_fc1", "mlp.linear_fc2"),
    )
    out, inner = vision.size("out_hidden_size"), width * merge * merge
    indexes = vision.sizes("deepstack_visual_indexes") if "deepstack_visual_indexes" in vision.defaults else ()
    # A layer that is named twice has the first of its mergers; one that there is not has none that runs.
    deep = len(set(indexes) & set(range(vision.size("depth"))))
    blocks = [
        Block("visual", start),
        Block("visual.blocks", layer, vision.size("depth")),
        Block("visual.merger", _merger(width, inner, out, cells, width)),
    ]
    merger = _merger(width, inner, out, cells, inner)
    if deep:
        blocks.append(Block("visual.deepstack_merger_list", merger, deep))
    if idle := len(indexes) - deep:
        blocks.append(Block("visual.deepstack_merger_list[not run]", _not_run(merger), idle))
    return tuple(blocks)


def _dense(text: Reader, tied: bool) -> tuple[Block, ...]:
    return qwen3_blocks(text, (None,) * text.size("num_hidden_layers"), tied=tied)


def _mixture(text: Reader, tied: bool) -> tuple[Block, ...]:
    return qwen3_moe_blocks(text, tied=tied)


def with_vision(
    decoder: Callable[[Reader, bool], tuple[Block, ...]],
    text_defaults: Mapping[str, Any],
    vision_defaults: Mapping[str, Any] = VISION,
    aliases: Mapping[str, str] | None = None,
) -> Callable[[Reader, Options], Description]:
    """How to describe a decoder behind this family's tower.

    Args:
        aliases: other names of the text part's keys.
    """

    def describe(config: Reader, options: Options) -> Description:
        text = flat_text(config, text_defaults, aliases)
        vision = sub_reader(
            config,
            "vision_config",
            vision_defaults,
            {"num_attention_heads": "num_heads", "num_hidden_layers": "depth"},
        )
        patch, merge = one_size(vision, "patch_size"), vision.size("spatial_merge_size")

        def see(images: Sequence[ImageSize]) -> Vision:
            grids = patch_grids(images, options, patch, merge, _LIMITS)
            tokens = sum(columns * rows for columns, rows in grids) // merge**2
            listed = ", ".join(f"{columns}x{rows}" for columns, rows in grids)
            return Vision(_blocks(vision, grids), tokens, (f"patches through the encoder: {listed}",))

        return Description(decoder(text, is_tied(config, text)), vision=see)

    return describe


TOP = {"text_config": None, "vision_config": None, "tie_word_embeddings": False}
_MOE_TEXT = {
    **QWEN3_MOE,
    "intermediate_size": 5632,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "moe_intermediate_size": 1408,
    "num_experts_per_tok": 4,
    "num_experts": 60,
    "tie_word_embeddings": None,
}

FAMILIES = (
    Family("qwen3_vl", TOP, with_vision(_dense, TEXT)),
    Family("qwen3_vl_moe", TOP, with_vision(_mixture, _MOE_TEXT, aliases=QWEN3_MOE_ALIASES)),
)
