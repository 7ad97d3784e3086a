"""Llama 4 with vision: square tiles through a ViT, pixels shuffled into fewer and wider positions."""

from __future__ import annotations

from collections.abc import Sequence

from llm_perf_opt.analysis.static.decoder import BEFORE
from llm_perf_opt.analysis.static.description import Block, Description, Family, ImageSize, Options, Vision
from llm_perf_opt.analysis.static.families.llama4 import TEXT, llama4_blocks
from llm_perf_opt.analysis.static.operators import Linear, Vector
from llm_perf_opt.analysis.static.reader import Reader
from llm_perf_opt.analysis.static.vision import encoder_layer, one_size, sub_reader, tiled_canvas

_MOST_TILES = 16


def _tiles(image: ImageSize, side: int) -> int:
    """Tiles of an image: those of its canvas, and a global one where there is more than one."""
    columns, rows = tiled_canvas(image, side, _MOST_TILES)
    return columns * rows + (1 if columns * rows > 1 else 0)


def _tower(vision: Reader, tiles: int, patches: int, hidden: int) -> tuple[tuple[Block, ...], int]:
    width, heads, inner = (vision.size(key) for key in ("hidden_size", "num_attention_heads", "intermediate_size"))
    vision.divides("hidden_size", "num_attention_heads")
    shuffle = vision.ratio("pixel_shuffle_ratio") ** 2
    each = int(patches * shuffle)
    wide, middle, out = int(width / shuffle), vision.size("projector_input_dim"), vision.size("projector_output_dim")
    if wide != inner:
        raise vision.error(
            "pixel_shuffle_ratio", f"makes {wide} of {width}: the adapter takes {inner}", "correct one of them"
        )
    if out != (given := vision.size("vision_output_dim")):
        raise vision.error("projector_output_dim", f"is {out}, and vision_output_dim {given}", "correct one of them")
    layer = encoder_layer(
        width, heads, inner, tiles * (patches + 1), ((tiles, patches + 1),), output="o_proj", norms=BEFORE
    )
    start = (
        Linear(
            "patch_embedding.linear",
            vision.size("num_channels") * one_size(vision, "patch_size") ** 2,
            width,
            rows=tiles * patches,
        ),
        Vector("class_embedding,positional_embedding_vlm", width * (patches + 2)),
        Vector("layernorm_pre,layernorm_post", 4 * width),
    )
    adapter = (
        Linear("mlp.fc1", inner, middle, rows=tiles * each),
        Linear("mlp.fc2", middle, out, rows=tiles * each),
    )
    blocks = (
        Block("vision_model", start),
        Block("vision_model.layers", layer, vision.size("num_hidden_layers")),
        Block("vision_model.vision_adapter", adapter),
        Block("multi_modal_projector", (Linear("linear_1", out, hidden, rows=tiles * each),)),
    )
    return blocks, tiles * each


def _describe(config: Reader, options: Options) -> Description:
    text, vision = sub_reader(config, "text_config", TEXT), sub_reader(config, "vision_config", _VISION)
    side = one_size(vision, "image_size")
    patches = (side // one_size(vision, "patch_size")) ** 2

    def see(images: Sequence[ImageSize]) -> Vision:
        views = options.views
        tiles = len(views) if views is not None else sum(_tiles(image, side) for image in images)
        blocks, tokens = _tower(vision, tiles, patches, text.size("hidden_size"))
        return Vision(blocks, tokens, (f"{tiles} tile(s) of {side} x {side}, the global one included",))

    tied = config.flag("tie_word_embeddings") or text.flag("tie_word_embeddings")
    return Description(llama4_blocks(text, tied=tied), vision=see)


_VISION = {
    "hidden_size": 768,
    "num_hidden_layers": 34,
    "num_attention_heads": 16,
    "num_channels": 3,
    "intermediate_size": 5632,
    "vision_output_dim": 7680,
    "image_size": 448,
    "patch_size": 14,
    "pixel_shuffle_ratio": 0.5,
    "projector_input_dim": 4096,
    "projector_output_dim": 4096,
}

FAMILIES = (Family("llama4", {"text_config": None, "vision_config": None, "tie_word_embeddings": False}, _describe),)
