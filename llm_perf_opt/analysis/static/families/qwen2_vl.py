"""Qwen2-VL and Qwen2.5-VL: a ViT on patches of the image's own size (windowed in 2.5) before Qwen2's decoder."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llm_perf_opt.analysis.static.attention import EncoderAttention
from llm_perf_opt.analysis.static.description import Block, Description, Family, ImageSize, Options, Vision
from llm_perf_opt.analysis.static.families.qwen2 import decoder_blocks
from llm_perf_opt.analysis.static.operators import Convolution, Linear, Operator, Vector
from llm_perf_opt.analysis.static.reader import Reader
from llm_perf_opt.analysis.static.vision import encoder_layer, one_size, sub_reader

TEXT = {
    "vocab_size": 152064,
    "hidden_size": 8192,
    "intermediate_size": 29568,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 80,
    "layer_types": None,
    # Older files keep it here.
    "tie_word_embeddings": None,
}
_PATCHES = {
    "depth": 32,
    "num_heads": 16,
    "in_channels": 3,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
}
QWEN2_VISION = {**_PATCHES, "embed_dim": 1280, "hidden_size": 3584, "mlp_ratio": 4}
QWEN25_VISION = {
    **_PATCHES,
    "hidden_size": 3584,
    "intermediate_size": 3420,
    "out_hidden_size": 3584,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
}
_ALIASES = {"num_attention_heads": "num_heads", "num_hidden_layers": "depth"}
Grid = tuple[int, int]


def smart_resize(image: ImageSize, factor: int, least: int, most: int) -> ImageSize:
    """Sides rounded to multiples of `factor`, the area kept between `least` and `most` pixels.

    The rule of https://github.com/QwenLM/Qwen2.5-VL (qwen-vl-utils, smart_resize).
    """
    width, height = image
    sides = [round(side / factor) * factor for side in image]
    if sides[0] * sides[1] > most:
        scale = math.sqrt(width * height / most)
        sides = [max(factor, math.floor(side / scale / factor) * factor) for side in image]
    elif sides[0] * sides[1] < least:
        scale = math.sqrt(least / (width * height))
        sides = [math.ceil(side * scale / factor) * factor for side in image]
    return sides[0], sides[1]


def patch_grids(images: Sequence[ImageSize], options: Options, patch: int, merge: int, limits: Grid) -> list[Grid]:
    """Columns and rows of patches of each image: of the views as given, else as the processor resizes."""
    if options.views is not None:
        return [(width // patch, height // patch) for width, height in options.views]
    sizes = [smart_resize(image, patch * merge, *(options.pixel_limits or limits)) for image in images]
    return [(width // patch, height // patch) for width, height in sizes]


def _window_groups(grids: Sequence[Grid], merge: int, window: int) -> tuple[tuple[int, int], ...]:
    """Windows of merged cells, cut off at the right and lower edge: (how many, patches of each)."""
    counts: Counter[int] = Counter()
    for columns, rows in grids:
        across, down = (_cuts(side // merge, window) for side in (columns, rows))
        for one in across:
            for other in down:
                counts[one * other * merge * merge] += 1
    return tuple((count, size) for size, count in sorted(counts.items()))


def _cuts(length: int, window: int) -> list[int]:
    whole, rest = divmod(length, window)
    return [window] * whole + ([rest] if rest else [])


def merger(width: int, merge: int, out: int, cells: int, *, norm_bias: bool) -> tuple[Operator, ...]:
    """Norm, then an MLP on each square of merge x merge patches."""
    inner = width * merge * merge
    return (
        Vector("ln_q", width * (2 if norm_bias else 1)),
        Linear("mlp.0", inner, inner, True, cells),
        Linear("mlp.2", inner, out, True, cells),
    )


def _gated_layer(
    width: int, heads: int, inner: int, rows: int, groups: tuple[tuple[int, int], ...]
) -> tuple[Operator, ...]:
    return (
        Vector("norm1", width),
        Vector("norm2", width),
        Linear("attn.qkv", width, 3 * width, True, rows),
        EncoderAttention("attn.attention", heads, width // heads, groups),
        Linear("attn.proj", width, width, True, rows),
        Linear("mlp.gate_proj", width, inner, True, rows),
        Linear("mlp.up_proj", width, inner, True, rows),
        Linear("mlp.down_proj", inner, width, True, rows),
    )


def _start(vision: Reader, width: int, rows: int) -> Block:
    kernel = one_size(vision, "temporal_patch_size") * one_size(vision, "patch_size") ** 2
    return Block("visual", (Convolution("patch_embed", vision.size("in_channels"), width, kernel, rows),))


def _qwen2_blocks(vision: Reader, grids: Sequence[Grid]) -> tuple[Block, ...]:
    width, heads, merge = vision.size("embed_dim"), vision.size("num_heads"), vision.size("spatial_merge_size")
    vision.divides("embed_dim", "num_heads")
    patches = [columns * rows for columns, rows in grids]
    groups = tuple((count, size) for size, count in sorted(Counter(patches).items()))
    layer = encoder_layer(
        width,
        heads,
        int(width * vision.ratio("mlp_ratio")),
        sum(patches),
        groups,
        fused="qkv",
        output="proj",
        norms=("norm1", "norm2"),
        module="attn",
    )
    cells = sum(patches) // merge**2
    return (
        _start(vision, width, sum(patches)),
        Block("visual.blocks", layer, vision.size("depth")),
        Block("visual.merger", merger(width, merge, vision.size("hidden_size"), cells, norm_bias=True)),
    )


def _qwen25_blocks(vision: Reader, grids: Sequence[Grid]) -> tuple[Block, ...]:
    width, heads, merge = vision.size("hidden_size"), vision.size("num_heads"), vision.size("spatial_merge_size")
    vision.divides("hidden_size", "num_heads")
    patches = [columns * rows for columns, rows in grids]
    depth, inner = vision.size("depth"), vision.size("intermediate_size")
    cell = one_size(vision, "patch_size") * merge
    window = vision.size("window_size") // cell
    if window < 1:
        raise vision.error("window_size", f"is smaller than one merged cell of {cell} pixels", "correct one of them")
    whole = sum(1 for layer in range(depth) if layer in vision.sizes("fullatt_block_indexes"))
    full = tuple((count, size) for size, count in sorted(Counter(patches).items()))
    blocks = [_start(vision, width, sum(patches))]
    for kind, repeat, groups in (
        ("window", depth - whole, _window_groups(grids, merge, window)),
        ("full", whole, full),
    ):
        if repeat:
            layer = _gated_layer(width, heads, inner, sum(patches), groups)
            blocks.append(Block(f"visual.blocks[{kind}]", layer, repeat))
    cells = sum(patches) // merge**2
    out = vision.size("out_hidden_size")
    return (*blocks, Block("visual.merger", merger(width, merge, out, cells, norm_bias=False)))


def flat_text(config: Reader, defaults: Mapping[str, Any], aliases: Mapping[str, str] | None = None) -> Reader:
    """The text part: nested, or in files on the hub beside the other keys."""
    if config.mapping("text_config"):
        return sub_reader(config, "text_config", defaults, aliases)
    text = Reader(config.values, defaults, where=config.where, prefix=config.prefix, aliases=aliases)
    text.check_spelling()
    text.check_experts()
    return text


def is_tied(config: Reader, text: Reader) -> bool:
    """Whether either place says that the head shares the embedding's weight."""
    return config.flag("tie_word_embeddings") or text.flag("tie_word_embeddings")


_LIMITS = (56 * 56, 28 * 28 * 1280)
"""Least and most pixels of transformers' image processor where the model directory names none."""


def _describe(
    defaults: Mapping[str, Any], blocks: Callable[[Reader, Sequence[Grid]], tuple[Block, ...]]
) -> Callable[[Reader, Options], Description]:
    def describe(config: Reader, options: Options) -> Description:
        text = flat_text(config, TEXT)
        vision = sub_reader(config, "vision_config", defaults, _ALIASES)
        patch, merge = one_size(vision, "patch_size"), vision.size("spatial_merge_size")

        def see(images: Sequence[ImageSize]) -> Vision:
            grids = patch_grids(images, options, patch, merge, _LIMITS)
            tokens = sum(columns * rows for columns, rows in grids) // merge**2
            listed = ", ".join(f"{columns}x{rows}" for columns, rows in grids)
            return Vision(blocks(vision, grids), tokens, (f"patches through the encoder: {listed}",))

        return Description(decoder_blocks(text, tied=is_tied(config, text)), vision=see)

    return describe


_TOP = {"text_config": None, "vision_config": None, "tie_word_embeddings": False}

FAMILIES = (
    Family("qwen2_vl", _TOP, _describe(QWEN2_VISION, _qwen2_blocks)),
    Family("qwen2_5_vl", _TOP, _describe(QWEN25_VISION, _qwen25_blocks)),
)
