"""Gemma 4 with vision: patches of the image's own shape through an encoder, pooled to a budget of tokens."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from llm_perf_opt.analysis.static.attention import EncoderAttention
from llm_perf_opt.analysis.static.decoder import norms, sizes
from llm_perf_opt.analysis.static.description import Block, Description, Family, ImageSize, Options, Vision
from llm_perf_opt.analysis.static.families.gemma import FOUR_NORMS
from llm_perf_opt.analysis.static.families.gemma4 import TEXT, gemma4_blocks
from llm_perf_opt.analysis.static.operators import Linear, Operator, Product, Table, Vector
from llm_perf_opt.analysis.static.reader import Reader
from llm_perf_opt.analysis.static.vision import sub_reader

_SOFT_TOKENS = 280
"""Image tokens at most, where the model directory's processor names no other number."""


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


def _with_vision(config: Reader, options: Options) -> Description:
    text = sub_reader(config, "text_config", TEXT)
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
    Family(
        "gemma4",
        {"text_config": None, "vision_config": None, "audio_config": None, "tie_word_embeddings": True},
        _with_vision,
    ),
)
