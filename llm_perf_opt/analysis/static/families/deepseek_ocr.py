"""DeepSeek-OCR (first version): SAM and CLIP one after the other, a linear projector, a DeepSeek-V2 decoder.

Its code is not in transformers: sizes and defaults follow the code published beside the weights
(https://huggingface.co/deepseek-ai/DeepSeek-OCR, modeling_deepseekocr.py, deepencoder.py).
"""

from __future__ import annotations

from collections.abc import Sequence

from llm_perf_opt.analysis.static.decoder import (
    BEFORE,
    attention,
    causal_lm,
    gated_mlp,
    norms,
    shared_and_routed,
    sizes,
)
from llm_perf_opt.analysis.static.description import Block, Description, Family, ImageSize, Options, Vision
from llm_perf_opt.analysis.static.families.deepseek import latent_attention
from llm_perf_opt.analysis.static.operators import Convolution, Linear, Operator, Table, Vector
from llm_perf_opt.analysis.static.pages import GundamPages, together
from llm_perf_opt.analysis.static.reader import Reader
from llm_perf_opt.analysis.static.vision import (
    Sam,
    encoder_layer,
    sam_tower,
    strided_convolutions,
    sub_reader,
)

_TEXT = {
    "vocab_size": 102400,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "moe_intermediate_size": 1407,
    "num_hidden_layers": 30,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "n_shared_experts": None,
    "n_routed_experts": None,
    "num_experts_per_tok": None,
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "first_k_dense_replace": 0,
    "moe_layer_freq": 1,
    "attention_bias": False,
    "use_mla": True,
    "tie_word_embeddings": False,
}
_SAM = Sam(
    width=768,
    heads=12,
    layers=12,
    inner=3072,
    channels=3,
    image=1024,
    patch=16,
    window=14,
    global_layers=(2, 5, 8, 11),
    neck=256,
)
_CHANNELS = (256, 512, 1024)
_CLIP_WIDTH, _CLIP_HEADS, _CLIP_LAYERS, _CLIP_INNER, _CLIP_POSITIONS = 1024, 16, 24, 4096, 257


def _decoder(text: Reader, options: Options) -> tuple[Block, ...]:
    size, bias = sizes(text), text.flag("attention_bias")
    mixed = (
        latent_attention(text, options.mla_form)
        if text.flag("use_mla")
        else attention(size, qkv_bias=bias, out_bias=bias)
    )
    shared = norms(BEFORE, size.hidden) + mixed
    dense = shared + gated_mlp(size.hidden, size.inner)
    first, every = text.size("first_k_dense_replace", least=0), text.size("moe_layer_freq")
    sparse = [
        text.get("n_routed_experts") is not None and layer >= first and layer % every == 0
        for layer in range(size.layers)
    ]
    mixture = shared + shared_and_routed(text, size.hidden) if any(sparse) else ()
    return causal_lm(text, [("moe", mixture) if one else ("dense", dense) for one in sparse])


def _clip(grids: Sequence[int]) -> tuple[Block, ...]:
    """CLIP-L on SAM's features: its own patch embedding is held but idle."""
    sizes_each = [side * side + 1 for side in grids]
    groups = tuple((sizes_each.count(size), size) for size in sorted(set(sizes_each)))
    start: tuple[Operator, ...] = (
        Convolution("embeddings.patch_embedding", 3, _CLIP_WIDTH, 14 * 14, 0),
        Vector("embeddings.class_embedding", _CLIP_WIDTH),
        Table("embeddings.position_embedding", _CLIP_POSITIONS, _CLIP_WIDTH, gathered=sum(sizes_each)),
        Vector("pre_layrnorm", 2 * _CLIP_WIDTH),
    )
    layer = encoder_layer(_CLIP_WIDTH, _CLIP_HEADS, _CLIP_INNER, sum(sizes_each), groups, fused="qkv_proj")
    return Block("vision_model", start), Block("vision_model.transformer.layers", layer, _CLIP_LAYERS)


def _describe(config: Reader, options: Options) -> Description:
    text = sub_reader(config, "language_config", _TEXT)
    hidden = text.size("hidden_size")
    blocks = _decoder(text, options)
    name = config.mapping("vision_config").get("model_name")
    if name != "deeplip_b_l":
        reason = f"no closed form for the vision tower {name!r} of deepseek_vl_v2"
        return Description(blocks, vision_reason=reason)

    def see(images: Sequence[ImageSize]) -> Vision:
        usual = together([GundamPages().of(image) for image in images])
        views = usual.views if options.views is None else options.views
        strided, left = strided_convolutions("sam_model.net", _CHANNELS, [width // _SAM.patch for width, _ in views])
        features = sum(side * side for side in left)
        projector = (
            Linear("layers", _CHANNELS[-1] + _CLIP_WIDTH, hidden, True, features),
            Vector("image_newline", hidden),
            Vector("view_seperator", hidden),
        )
        vision = (*sam_tower(_SAM, views, name="sam_model"), strided, *_clip(left), Block("projector", projector))
        listed = ", ".join(f"{width}x{height}" for width, height in views)
        tokens = usual.tokens if options.views is None else features
        return Vision(vision, tokens, (f"views through the encoders: {listed}",))

    return Description(blocks, vision=see)


FAMILIES = (
    Family(
        "deepseek_vl_v2",
        {"language_config": None, "vision_config": None, "projector_config": None},
        _describe,
        remote=True,
    ),
)
