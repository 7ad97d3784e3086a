"""Llama 3.2 Vision (Mllama): some layers attend to the images alone, across from a tower of two encoders."""

from __future__ import annotations

from collections.abc import Sequence

from llm_perf_opt.analysis.static.attention import CrossAttention
from llm_perf_opt.analysis.static.decoder import (
    BEFORE,
    DENSE,
    attention,
    embedding,
    final_norm,
    gated_mlp,
    head,
    norms,
    sizes,
    stack,
)
from llm_perf_opt.analysis.static.description import Block, Description, Family, ImageSize, Options, Vision
from llm_perf_opt.analysis.static.operators import Convolution, Linear, Operator, Table, Vector
from llm_perf_opt.analysis.static.reader import Reader
from llm_perf_opt.analysis.static.rows import Once, Rows
from llm_perf_opt.analysis.static.vision import encoder_layer, one_size, sub_reader, tiled_canvas


def _cross_layer(config: Reader, keys: int) -> tuple[Operator, ...]:
    """A layer whose keys come from the images; without images it does not run."""
    size, rows = sizes(config), Rows.TOKENS if keys else 0
    query, key_value, module = size.heads * size.head_dim, size.kv_heads * size.head_dim, "cross_attn"
    widths = {**dict.fromkeys(BEFORE, size.hidden), "gates": 2, f"{module}.q_norm,k_norm": 2 * size.head_dim}
    return (
        *(Vector(name, width, skipped=not keys) for name, width in widths.items()),
        Linear(f"{module}.q_proj", size.hidden, query, rows=rows),
        Linear(f"{module}.k_proj", size.hidden, key_value, rows=Once(keys)),
        Linear(f"{module}.v_proj", size.hidden, key_value, rows=Once(keys)),
        CrossAttention(f"{module}.attention", size.heads, size.head_dim, keys, 2 * key_value),
        Linear(f"{module}.o_proj", query, size.hidden, rows=rows),
        *gated_mlp(size.hidden, size.inner, rows=rows),
    )


def _decoder(config: Reader, keys: int) -> tuple[Block, ...]:
    size, vocabulary = sizes(config), config.size("vocab_size")
    crossing = config.sizes("cross_attention_layers") or (3, 8, 13, 18, 23, 28, 33, 38)
    own = norms(BEFORE, size.hidden) + attention(size) + gated_mlp(size.hidden, size.inner)
    across = _cross_layer(config, keys)
    layers = [("cross", across) if layer in crossing else ("self", own) for layer in range(size.layers)]
    return (
        # Eight more rows than the vocabulary, for the image token.
        embedding(vocabulary + 8, size.hidden),
        *stack(layers),
        final_norm(size.hidden),
        head(size.hidden, vocabulary, tied=config.flag("tie_word_embeddings")),
    )


def _tower(config: Reader, tiles: Sequence[int], hidden: int) -> tuple[Block, ...]:
    width, heads, inner = (config.size(key) for key in ("hidden_size", "attention_heads", "intermediate_size"))
    config.divides("hidden_size", "attention_heads")
    side, patch, most = one_size(config, "image_size"), one_size(config, "patch_size"), config.size("max_num_tiles")
    positions = (side // patch) ** 2 + 1
    padded, ratios = -(-positions // 8) * 8, len(config.sequence("supported_aspect_ratios") or range(8)) + 1
    rows, count = sum(tiles) * padded, sum(tiles)
    groups = tuple((tiles.count(number), number * padded) for number in sorted(set(tiles)))
    layer = encoder_layer(
        width, heads, inner, rows, groups, output="o_proj", norms=BEFORE, qkv_bias=False, out_bias=False
    )
    images = len(tiles)
    taken = len(config.sizes("intermediate_layers_indices") or (3, 7, 15, 23, 30)) + 1
    if taken * width != config.size("vision_output_dim"):
        raise config.error("vision_output_dim", f"is not {taken} times {width}", "correct one of them")
    tables: tuple[Operator, ...] = (
        Convolution("patch_embedding", config.size("num_channels"), width, patch**2, count * (positions - 1)),
        Vector("class_embedding,gates", width + 3),
        Vector("gated_positional_embedding.embedding", positions * width),
        Table("gated_positional_embedding.tile_embedding", ratios, most * positions * width, gathered=images),
        Table("pre_tile_positional_embedding", ratios, most * width, gathered=images),
        Table("post_tile_positional_embedding", ratios, most * width, gathered=images),
        *norms(("layernorm_pre", "layernorm_post"), width, bias=True),
    )
    return (
        Block("vision_model", tables),
        Block("vision_model.transformer", layer, config.size("num_hidden_layers")),
        Block("vision_model.global_transformer", (*layer, Vector("gates", 2)), config.size("num_global_layers")),
        Block("multi_modal_projector", (Linear("linear", taken * width, hidden, True, count * positions),)),
    )


def _describe(config: Reader, options: Options) -> Description:
    text, vision = sub_reader(config, "text_config", _TEXT), sub_reader(config, "vision_config", _VISION)
    side, most = one_size(vision, "image_size"), vision.size("max_num_tiles")

    def tiles_of(images: Sequence[ImageSize]) -> list[int]:
        if options.views is not None:
            return [columns // side * (rows // side) for columns, rows in options.views]
        grids = [tiled_canvas(image, side, most) for image in images]
        return [columns * rows for columns, rows in grids]

    positions = (side // one_size(vision, "patch_size")) ** 2 + 1

    def see(images: Sequence[ImageSize]) -> Vision:
        tiles = tiles_of(images)
        notes = (
            f"tiles of each image: {', '.join(map(str, tiles))}; the image is attended to, it adds no tokens",
            "every token attends to every tile; tiles that pad an image are not counted",
        )
        return Vision(_tower(vision, tiles, text.size("hidden_size")), 0, notes)

    return Description(_decoder(text, sum(tiles_of(options.images)) * positions), vision=see)


_TEXT = {
    **{key: value for key, value in DENSE.items() if key != "head_dim"},
    "vocab_size": 128256,
    "intermediate_size": 14336,
    "num_hidden_layers": 40,
    "num_key_value_heads": 8,
    "cross_attention_layers": None,
}
_VISION = {
    "hidden_size": 1280,
    "num_hidden_layers": 32,
    "num_global_layers": 8,
    "attention_heads": 16,
    "num_channels": 3,
    "intermediate_size": 5120,
    "vision_output_dim": 7680,
    "image_size": 448,
    "patch_size": 14,
    "max_num_tiles": 4,
    "intermediate_layers_indices": None,
    "supported_aspect_ratios": None,
}

FAMILIES = (Family("mllama", {"text_config": None, "vision_config": None}, _describe),)
