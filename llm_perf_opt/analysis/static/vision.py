"""Encoder blocks that vision families share: plain ViT layers, CLIP and SigLIP towers, SAM with its neck."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from llm_perf_opt.analysis.static.attention import EncoderAttention
from llm_perf_opt.analysis.static.description import Block, ImageSize
from llm_perf_opt.analysis.static.operators import Convolution, Linear, Operator, Product, Table, Vector
from llm_perf_opt.analysis.static.reader import Reader

CLIP_VISION: Mapping[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 224,
    "patch_size": 32,
}
SIGLIP_VISION: Mapping[str, Any] = {**CLIP_VISION, "patch_size": 16, "vision_use_head": True}


def sub_reader(
    config: Reader, key: str, defaults: Mapping[str, Any], aliases: Mapping[str, str] | None = None
) -> Reader:
    """The reader of a nested mapping, its spelling checked."""
    nested = Reader(config.mapping(key), defaults, where=config.where, prefix=f"{config.prefix}{key}.", aliases=aliases)
    nested.check_spelling()
    nested.check_experts()
    return nested


def one_size(config: Reader, key: str) -> int:
    """A size that may be written as a pair of equal numbers."""
    value = config.get(key)
    if isinstance(value, list | tuple):
        pair = config.sizes(key, least=1)
        if len(pair) != 2 or pair[0] != pair[1]:
            raise config.not_covered(key, f"is {list(pair)}")
        return pair[0]
    return config.size(key)


def encoder_layer(
    width: int,
    heads: int,
    inner: int,
    rows: int,
    groups: tuple[tuple[int, int], ...],
    *,
    fused: str | None = None,
    output: str = "out_proj",
    norms: tuple[str, str] = ("layer_norm1", "layer_norm2"),
    norm_bias: bool = True,
    module: str = "self_attn",
    mlp: tuple[str, str] = ("mlp.fc1", "mlp.fc2"),
    mixed_rows: int | None = None,
    qkv_bias: bool = True,
    out_bias: bool = True,
    extra: Sequence[Operator] = (),
) -> tuple[Operator, ...]:
    """A pre-norm encoder layer of multi-head attention and a plain MLP.

    Args:
        rows: positions of one sequence's images.
        groups: how those positions attend each other (see EncoderAttention).
        mixed_rows: positions that go through attention where windows are padded; None is `rows`.
    """
    mixed = rows if mixed_rows is None else mixed_rows
    if fused:
        projections: tuple[Operator, ...] = (Linear(f"{module}.{fused}", width, 3 * width, qkv_bias, mixed),)
    else:
        projections = tuple(Linear(f"{module}.{part}_proj", width, width, qkv_bias, mixed) for part in ("q", "k", "v"))
    return (
        *(Vector(name, width * (2 if norm_bias else 1)) for name in norms),
        *projections,
        *extra,
        EncoderAttention(f"{module}.attention", heads, width // heads, groups),
        Linear(f"{module}.{output}", width, width, out_bias, mixed),
        Linear(mlp[0], width, inner, True, rows),
        Linear(mlp[1], inner, width, True, rows),
    )


@dataclass(frozen=True, slots=True)
class Tower:
    """A ViT on square images of one size: its blocks for `images` images and its positions per image."""

    blocks: tuple[Block, ...]
    width: int
    patches: int


def vit_tower(config: Reader, images: int, *, name: str, clip: bool) -> Tower:
    """CLIP's vision model (class token, norms before and after) or SigLIP's (patches alone, optional head).

    Every layer runs even where an earlier one's output is taken, as transformers does.
    """
    width, heads = config.size("hidden_size"), config.size("num_attention_heads")
    config.divides("hidden_size", "num_attention_heads")
    inner, layers = config.size("intermediate_size"), config.size("num_hidden_layers")
    side = one_size(config, "image_size") // one_size(config, "patch_size")
    patches, extra = side * side, 1 if clip else 0
    area = one_size(config, "patch_size") ** 2
    positions = patches + extra
    embeddings: list[Operator] = [
        Convolution(
            "embeddings.patch_embedding", config.size("num_channels"), width, area, images * patches, bias=not clip
        ),
        Table("embeddings.position_embedding", positions, width, gathered=images * positions),
    ]
    if clip:
        embeddings += [Vector("embeddings.class_embedding", width), Vector("pre_layrnorm", 2 * width)]
    layer = encoder_layer(width, heads, inner, images * positions, ((images, positions),))
    after: list[Operator] = [Vector("post_layernorm", 2 * width)]
    if not clip and config.flag("vision_use_head"):
        after += _pooling_head(width, heads, inner, images, patches)
    blocks = (
        Block(name, tuple(embeddings)),
        Block(f"{name}.layers", layer, layers),
        Block(name, tuple(after)),
    )
    return Tower(blocks, width, patches)


def _pooling_head(width: int, heads: int, inner: int, images: int, patches: int) -> list[Operator]:
    """SigLIP's head: one learned query per image attends its patches."""
    return [
        Vector("head.probe", width),
        Linear("head.attention.query", width, width, True, images),
        Linear("head.attention.key_value", width, 2 * width, True, images * patches),
        Product("head.attention.scores", images * heads, 1, patches, width // heads),
        Product("head.attention.values", images * heads, 1, width // heads, patches),
        Linear("head.attention.out_proj", width, width, True, images),
        Vector("head.layernorm", 2 * width),
        Linear("head.mlp.fc1", width, inner, True, images),
        Linear("head.mlp.fc2", inner, width, True, images),
    ]


@dataclass(frozen=True, slots=True)
class Sam:
    """The sizes of a SAM encoder."""

    width: int
    heads: int
    layers: int
    inner: int
    channels: int
    image: int
    patch: int
    window: int
    global_layers: tuple[int, ...]
    neck: int
    qkv_bias: bool = True
    relative: bool = True
    absolute: bool = True


def _windows(grid: int, window: int) -> tuple[int, int]:
    """Windows that cover a square grid, and positions of each; 0 is one window of everything."""
    if window == 0:
        return 1, grid * grid
    along = -(-grid // window)
    return along * along, window * window


def _sam_layer(sam: Sam, grids: Sequence[int], window: int) -> tuple[Operator, ...]:
    head_dim = sam.width // sam.heads
    counted = [_windows(grid, window) for grid in grids]
    rows = sum(grid * grid for grid in grids)
    extra: list[Operator] = []
    if sam.relative:
        # Each position times a row (or column) of the table for each row (or column) it can see.
        table = 2 * (window or sam.image // sam.patch) - 1
        for axis in ("h", "w"):
            extra.append(Vector(f"attn.rel_pos_{axis}", table * head_dim))
            for grid, (windows, size) in zip(grids, counted, strict=True):
                side = window or grid
                extra.append(
                    Product(f"attn.rel_{axis}[{side}]", windows * sam.heads * side, size // side, side, head_dim)
                )
    return encoder_layer(
        sam.width,
        sam.heads,
        sam.inner,
        rows,
        tuple(counted),
        fused="qkv",
        output="proj",
        module="attn",
        mlp=("mlp.lin1", "mlp.lin2"),
        mixed_rows=sum(windows * size for windows, size in counted),
        qkv_bias=sam.qkv_bias,
        extra=_merged_products(extra),
    )


def _merged_products(operators: Sequence[Operator]) -> tuple[Operator, ...]:
    """Products of the same name and sizes as one with their count."""
    merged: dict[str, Operator] = {}
    for operator in operators:
        other = merged.get(operator.name)
        if isinstance(other, Product) and isinstance(operator, Product):
            merged[operator.name] = Product(other.name, other.count + operator.count, other.m, other.n, other.k)
        else:
            merged[operator.name] = operator
    return tuple(merged.values())


def sam_tower(sam: Sam, views: Sequence[ImageSize], *, name: str) -> tuple[Block, ...]:
    """SAM's ViT and neck on square views: windowed layers padded to whole windows, some layers global."""
    grids = [width // sam.patch for width, _ in views]
    rows = sum(grid * grid for grid in grids)
    start: list[Operator] = [Convolution("patch_embed", sam.channels, sam.width, sam.patch**2, rows, bias=True)]
    if sam.absolute:
        start.append(Vector("pos_embed", (sam.image // sam.patch) ** 2 * sam.width))
    global_count = sum(1 for layer in range(sam.layers) if layer in sam.global_layers)
    blocks = [Block(name, tuple(start))]
    if sam.layers - global_count:
        blocks.append(Block(f"{name}.layers[window]", _sam_layer(sam, grids, sam.window), sam.layers - global_count))
    if global_count:
        blocks.append(Block(f"{name}.layers[global]", _sam_layer(sam, grids, 0), global_count))
    neck: tuple[Operator, ...] = (
        Convolution("conv1", sam.width, sam.neck, 1, rows),
        Vector("layer_norm1", 2 * sam.neck),
        Convolution("conv2", sam.neck, sam.neck, 9, rows),
        Vector("layer_norm2", 2 * sam.neck),
    )
    return (*blocks, Block(f"{name}.neck", neck))


def strided_convolutions(name: str, channels: Sequence[int], grids: Sequence[int]) -> tuple[Block, list[int]]:
    """3 x 3 convolutions of stride 2 one after the other, and the grids they leave."""
    operators: list[Operator] = []
    sides = list(grids)
    for position, (inputs, outputs) in enumerate(pairwise(channels), start=1):
        sides = [-(-side // 2) for side in sides]
        operators.append(Convolution(f"conv{position}", inputs, outputs, 9, sum(side * side for side in sides)))
    return Block(name, tuple(operators)), sides


def tiled_canvas(image: ImageSize, tile: int, most: int) -> tuple[int, int]:
    """Columns and rows of tiles that an image is scaled into undistorted, as Llama's processors choose them.

    The canvas that enlarges least, else the one that shrinks least; of equal ones the smallest.
    """
    grids = [(c, r) for c in range(1, most + 1) for r in range(1, most + 1) if c * r <= most]
    scales = {grid: min(grid[0] * tile / image[0], grid[1] * tile / image[1]) for grid in grids}
    enlarging = [scale for scale in scales.values() if scale >= 1]
    chosen = min(enlarging) if enlarging else max(scales.values())
    return min((grid for grid in grids if scales[grid] == chosen), key=lambda grid: grid[0] * grid[1])


def best_grid(image: ImageSize, tile: int, least: int, most: int) -> tuple[int, int]:
    """Columns and rows of tiles whose shape is nearest to the image's, as InternVL and DeepSeek-OCR tile.

    Among equally near ones the larger wins while the image fills more than half of its tiles
    (https://github.com/OpenGVLab/InternVL, dynamic_preprocess).
    """
    width, height = image
    grids = [(c, r) for c in range(1, most + 1) for r in range(1, most + 1) if least <= c * r <= most]
    grids.sort(key=lambda grid: grid[0] * grid[1])
    best, nearest = (1, 1), float("inf")
    for columns, rows in grids:
        distance = abs(width / height - columns / rows)
        fills = width * height > 0.5 * tile * tile * columns * rows
        if distance < nearest or (distance == nearest and fills):
            best, nearest = (columns, rows), distance
    return best
