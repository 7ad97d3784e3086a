"""Qwen3-VL, dense and mixture: full attention in the ViT, features of some layers merged into the decoder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from llm_perf_opt.analysis.static.description import Block, Description, Family, ImageSize, Options, Vision
from llm_perf_opt.analysis.static.families.qwen2 import qwen3_blocks
from llm_perf_opt.analysis.static.families.qwen2_vl import Grid, flat_text, is_tied, patch_grids
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
    deep = len(vision.sizes("deepstack_visual_indexes"))
    blocks = [
        Block("visual", start),
        Block("visual.blocks", layer, vision.size("depth")),
        Block("visual.merger", _merger(width, inner, out, cells, width)),
    ]
    if deep:
        blocks.append(Block("visual.deepstack_merger_list", _merger(width, inner, out, cells, inner), deep))
    return tuple(blocks)


def _dense(text: Reader, tied: bool) -> tuple[Block, ...]:
    return qwen3_blocks(text, (None,) * text.size("num_hidden_layers"), tied=tied)


def _describe(decoder: Callable[[Reader, bool], tuple[Block, ...]]) -> Callable[[Reader, Options], Description]:
    def describe(config: Reader, options: Options) -> Description:
        text = flat_text(config, TEXT)
        vision = sub_reader(
            config, "vision_config", VISION, {"num_attention_heads": "num_heads", "num_hidden_layers": "depth"}
        )
        patch, merge = one_size(vision, "patch_size"), vision.size("spatial_merge_size")

        def see(images: Sequence[ImageSize]) -> Vision:
            grids = patch_grids(images, options, patch, merge, _LIMITS)
            tokens = sum(columns * rows for columns, rows in grids) // merge**2
            listed = ", ".join(f"{columns}x{rows}" for columns, rows in grids)
            return Vision(_blocks(vision, grids), tokens, (f"patches through the encoder: {listed}",))

        return Description(decoder(text, is_tied(config, text)), vision=see)

    return describe


FAMILIES = (
    Family("qwen3_vl", {"text_config": None, "vision_config": None, "tie_word_embeddings": False}, _describe(_dense)),
)
