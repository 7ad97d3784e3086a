"""DeepSeek-OCR-2: SAM, a Qwen2-like encoder that turns patches into learned queries, a mixture-of-experts decoder."""

from __future__ import annotations

from collections.abc import Sequence

from llm_perf_opt.analysis.static.attention import Attention, EncoderAttention
from llm_perf_opt.analysis.static.decoder import (
    BEFORE,
    DENSE,
    Sizes,
    attention,
    causal_lm,
    gated_mlp,
    head_counts,
    norms,
    shared_and_routed,
    sizes,
)
from llm_perf_opt.analysis.static.description import Block, Description, Family, ImageSize, Options, Vision
from llm_perf_opt.analysis.static.operators import Linear, Operator, Table, Vector
from llm_perf_opt.analysis.static.pages import TiledPages, together
from llm_perf_opt.analysis.static.reader import Reader
from llm_perf_opt.analysis.static.vision import Sam, one_size, sam_tower, strided_convolutions, sub_reader

TEXT = {
    **{key: value for key, value in DENSE.items() if key not in ("head_dim", "tie_word_embeddings")},
    "vocab_size": 102400,
    "attention_bias": False,
    "mlp_bias": False,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_experts_per_tok": None,
    "moe_intermediate_size": 1407,
    "mlp_layer_types": None,
}
SAM = {
    "hidden_size": 768,
    "output_channels": 256,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_channels": 3,
    "image_size": 1024,
    "patch_size": 16,
    "qkv_bias": True,
    "mlp_ratio": 4.0,
    "mlp_dim": None,
    "use_abs_pos": True,
    "use_rel_pos": True,
    "window_size": 14,
    "global_attn_indexes": [2, 5, 8, 11],
    "downsample_channels": None,
}
ENCODER = {
    "hidden_size": 4096,
    "intermediate_size": 22016,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
}
_SMALL, _LARGE = 144, 256
"""Learned queries of a 768 and of a 1024 pixel view."""


def decoder_blocks(config: Reader, *, tied: bool) -> tuple[Block, ...]:
    """The text decoder, from embedding to head."""
    size, bias, mlp_bias = sizes(config), config.flag("attention_bias"), config.flag("mlp_bias")
    kinds = config.per_layer("mlp_layer_types", size.layers, ("dense", "sparse"))
    if kinds is None:
        raise config.error("mlp_layer_types", "is missing", "give 'dense' or 'sparse' for each layer")
    shared = norms(BEFORE, size.hidden) + attention(size, qkv_bias=bias, out_bias=bias)
    dense = shared + gated_mlp(size.hidden, size.inner, bias=mlp_bias)
    mixture = shared + shared_and_routed(config, size.hidden, bias=mlp_bias) if "sparse" in kinds else ()
    layers = [("moe", mixture) if kind == "sparse" else ("dense", dense) for kind in kinds]
    return causal_lm(config, layers, tied=tied)


def sam_sizes(config: Reader) -> Sam:
    """A SAM encoder as transformers configures it."""
    config.divides("hidden_size", "num_attention_heads")
    width = config.size("hidden_size")
    if config.get("mlp_dim") is None and "mlp_ratio" in config.defaults:
        inner = int(width * config.ratio("mlp_ratio"))
    else:
        inner = config.size("mlp_dim")
    return Sam(
        width=width,
        heads=config.size("num_attention_heads"),
        layers=config.size("num_hidden_layers"),
        inner=inner,
        channels=config.size("num_channels"),
        image=one_size(config, "image_size"),
        patch=one_size(config, "patch_size"),
        window=config.size("window_size", least=0),
        global_layers=config.sizes("global_attn_indexes"),
        neck=config.size("output_channels"),
        qkv_bias=config.flag("qkv_bias"),
        relative=config.flag("use_rel_pos"),
        absolute=config.flag("use_abs_pos"),
    )


def _encoder(config: Reader, grids: Sequence[int]) -> tuple[Block, ...]:
    heads, kv_heads = head_counts(config)
    size = Sizes(
        hidden=config.size("hidden_size"),
        layers=config.size("num_hidden_layers"),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=config.divides("hidden_size", "num_attention_heads"),
        inner=config.size("intermediate_size"),
    )
    seen = [side * side for side in grids]
    queries = [_SMALL if patches <= _SMALL else _LARGE for patches in seen]
    groups = sorted(set(zip(seen, queries, strict=True)))
    rows = sum(seen) + sum(queries)
    layer: list[Operator] = list(norms(BEFORE, size.hidden))
    for operator in attention(size, qkv_bias=True) + gated_mlp(size.hidden, size.inner):
        if isinstance(operator, Attention):
            for patches, tail in groups:
                count = sum(1 for pair in zip(seen, queries, strict=True) if pair == (patches, tail))
                label = f"self_attn.attention[{patches}+{tail}]"
                layer.append(EncoderAttention(label, heads, size.head_dim, ((count, patches + tail),), tail))
        elif isinstance(operator, Linear):
            layer.append(Linear(operator.name, operator.inputs, operator.outputs, operator.bias, rows))
    start = (
        Table("query_768_resolution", _SMALL, size.hidden, gathered=sum(q for q in queries if q == _SMALL)),
        Table("query_1024_resolution", _LARGE, size.hidden, gathered=sum(q for q in queries if q == _LARGE)),
    )
    return (
        Block("vision_encoder", start),
        Block("vision_encoder.layers", tuple(layer), size.layers),
        Block("vision_encoder", (Vector("norm", size.hidden),)),
    )


def _describe(config: Reader, options: Options) -> Description:
    text = sub_reader(config, "text_config", TEXT, {"num_experts": "n_routed_experts"})
    vision = sub_reader(config, "vision_config", {"sam_config": None, "encoder_config": None})
    sam_config = sub_reader(vision, "sam_config", SAM)
    encoder = sub_reader(vision, "encoder_config", ENCODER)
    sam = sam_sizes(sam_config)
    channels = (sam.neck, *(sam_config.sizes("downsample_channels", least=1) or (512, 896)))
    hidden, width = text.size("hidden_size"), encoder.size("hidden_size")

    def see(images: Sequence[ImageSize]) -> Vision:
        usual = together([TiledPages().of(image) for image in images])
        views = usual.views if options.views is None else options.views
        tower = sam_tower(sam, views, name="sam_encoder")
        strided, grids = strided_convolutions("sam_encoder.proj", channels, [one // sam.patch for one, _ in views])
        queries = sum(_SMALL if side * side <= _SMALL else _LARGE for side in grids)
        projector = (Linear("linear", width, hidden, True, queries), Vector("view_separator", hidden))
        blocks = (*tower, strided, *_encoder(encoder, grids), Block("multi_modal_projector", projector))
        listed = ", ".join(f"{w}x{h}" for w, h in views)
        return Vision(blocks, queries + len(images), (f"views through the encoders: {listed}",))

    return Description(decoder_blocks(text, tied=config.flag("tie_word_embeddings")), vision=see)


FAMILIES = (
    Family("deepseek_ocr2", {"text_config": None, "vision_config": None, "tie_word_embeddings": False}, _describe),
)
