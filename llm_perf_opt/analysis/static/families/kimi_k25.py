"""Kimi K2.5: a ViT on patches of the image's own size before DeepSeek-V3's decoder."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from llm_perf_opt.analysis.static.description import Block, Description, Family, ImageSize, Options, Vision
from llm_perf_opt.analysis.static.operators import Convolution, Linear, Table, Vector
from llm_perf_opt.analysis.static.reader import Reader
from llm_perf_opt.analysis.static.text_part import text_description
from llm_perf_opt.analysis.static.vision import encoder_layer, sub_reader

_MOST_PATCHES, _MOST_A_SIDE = 16384, 512


def _grid(image: ImageSize, patch: int, merge: tuple[int, int]) -> tuple[int, int]:
    """Columns and rows of patches: the image shrunk to the budget, then padded to whole merged cells."""
    patches = [max(1, side // patch) for side in image]
    scale = min(1.0, math.sqrt(_MOST_PATCHES / math.prod(patches)), *(_MOST_A_SIDE * patch / side for side in image))
    sides = [min(max(1, int(side * scale)), _MOST_A_SIDE * patch) for side in image]
    columns, rows = (-(-side // (patch * by)) * by for side, by in zip(sides, reversed(merge), strict=True))
    return columns, rows


def _tower(
    vision: Reader, grids: Sequence[tuple[int, int]], merged: int, narrow: int, hidden: int
) -> tuple[Block, ...]:
    width, heads, inner, patch = (
        vision.size(key) for key in ("hidden_size", "num_attention_heads", "intermediate_size", "patch_size")
    )
    vision.divides("hidden_size", "num_attention_heads")
    counts = Counter(columns * rows for columns, rows in grids)
    rows, cells = sum(counts.elements()), sum(counts.elements()) // merged
    layer = encoder_layer(
        width,
        heads,
        inner,
        rows,
        tuple((number, size) for size, number in sorted(counts.items())),
        output="proj",
        norms=("norm1", "norm2"),
        module="attn",
    )
    table = vision.size("pos_emb_height") * vision.size("pos_emb_width")
    start = (
        Convolution("patch_embed.proj", 3, width, patch**2, rows, bias=True),
        # Positions are interpolated from sixteen table entries per patch.
        Table("patch_embed.pos_emb", table, width, gathered=16 * rows),
    )
    projector = (
        Vector("pre_norm", 2 * narrow),
        Linear("in_proj", width * merged, width * merged, True, cells),
        Linear("out_proj", width * merged, hidden, True, cells),
    )
    return (
        Block("vision_tower", start),
        Block("vision_tower.layers", layer, vision.size("num_hidden_layers")),
        Block("vision_tower", (Vector("final_layernorm", 2 * width),)),
        Block("mm_projector", projector),
    )


def _describe(config: Reader, options: Options) -> Description:
    tied = config.flag("tie_word_embeddings")
    text, hidden = text_description(config, options, model_type="deepseek_v3", absent={}, tied=tied)
    vision = sub_reader(config, "vision_config", _VISION, {f"vt_{key}": key for key in _VISION} | _EARLIER)
    sides = vision.sizes("merge_kernel_size", least=1)
    if len(sides) != 2:
        raise vision.error("merge_kernel_size", f"is {list(sides)}", "give two numbers")
    merge = (sides[0], sides[1])
    patch, narrow = vision.size("patch_size"), config.size("projection_hidden_size")

    def see(images: Sequence[ImageSize]) -> Vision:
        if options.views is not None:
            grids = [(width // patch, height // patch) for width, height in options.views]
        else:
            grids = [_grid(image, patch, merge) for image in images]
        tokens = sum(columns * rows for columns, rows in grids) // (merge[0] * merge[1])
        listed = ", ".join(f"{columns}x{rows}" for columns, rows in grids)
        blocks = _tower(vision, grids, merge[0] * merge[1], narrow, hidden)
        return Vision(blocks, tokens, (f"patches through the encoder: {listed}",))

    return Description(text.blocks, vision=see, notes=text.notes)


_VISION = {
    "patch_size": 14,
    "pos_emb_height": 64,
    "pos_emb_width": 64,
    "num_attention_heads": 16,
    "num_hidden_layers": 27,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "merge_kernel_size": [2, 2],
}
_EARLIER = {"init_pos_emb_height": "pos_emb_height", "init_pos_emb_width": "pos_emb_width"}

FAMILIES = (
    Family(
        "kimi_k25",
        {"text_config": None, "vision_config": None, "projection_hidden_size": 1152, "tie_word_embeddings": True},
        _describe,
    ),
)
