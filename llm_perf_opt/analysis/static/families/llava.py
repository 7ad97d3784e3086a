"""LLaVA and PaliGemma: a CLIP or SigLIP tower and a projector before any decoder of its own model type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llm_perf_opt.analysis.static.attention import Attention
from llm_perf_opt.analysis.static.description import Block, Description, Family, ImageSize, Options, Vision
from llm_perf_opt.analysis.static.operators import Linear
from llm_perf_opt.analysis.static.reader import Reader
from llm_perf_opt.analysis.static.text_part import text_description
from llm_perf_opt.analysis.static.vision import CLIP_VISION, SIGLIP_VISION, Tower, sub_reader, vit_tower

_CLIP_ABSENT = {
    "intermediate_size": 4096,
    "hidden_size": 1024,
    "patch_size": 14,
    "image_size": 336,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
}
_SIGLIP_ABSENT = {
    "intermediate_size": 4096,
    "hidden_size": 1152,
    "patch_size": 14,
    "image_size": 224,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "vision_use_head": False,
}
_GEMMA_ABSENT = {
    "hidden_size": 2048,
    "num_hidden_layers": 18,
    "intermediate_size": 16384,
    "num_attention_heads": 8,
    "num_key_value_heads": 1,
    "vocab_size": 257152,
}


def _towers(config: Reader, absent: Mapping[str, Any], default_type: str) -> tuple[Reader, bool]:
    """The vision part and whether it is CLIP's."""
    named = config.mapping("vision_config").get("model_type", default_type)
    if named not in ("clip_vision_model", "siglip_vision_model"):
        raise config.not_covered("vision_config", f"is of type {named!r}")
    clip = named == "clip_vision_model"
    defaults = CLIP_VISION if clip else SIGLIP_VISION
    if config.get("vision_config") is None:
        return Reader(absent, defaults, where=config.where, prefix=f"{config.prefix}vision_config."), clip
    return sub_reader(config, "vision_config", defaults), clip


def fixed_views(images: Sequence[ImageSize], options: Options) -> int:
    """Images through a tower of one fixed size: the processor resizes each to it."""
    return len(options.views) if options.views is not None else len(images)


def _note(tower: Tower, count: int) -> tuple[str, ...]:
    return (f"{count} image(s) resized to the tower's own size: {tower.patches} patches each",)


def _features(config: Reader) -> int:
    """How many layers' features are concatenated."""
    value = config.get("vision_feature_layer")
    return len(value) if isinstance(value, list | tuple) else 1


def _llava(config: Reader, options: Options) -> Description:
    text, hidden = text_description(config, options, model_type="llama", absent={}, tied=None)
    vision, clip = _towers(config, _CLIP_ABSENT, "clip_vision_model")
    bias, layers = config.flag("multimodal_projector_bias"), _features(config)
    cropped = config.get("vision_feature_select_strategy") == "default"

    def see(images: Sequence[ImageSize]) -> Vision:
        count = fixed_views(images, options)
        tower = vit_tower(vision, count, name="vision_tower", clip=clip)
        # "default" drops the first position, the class token of CLIP, and so one patch of SigLIP.
        each = tower.patches + (1 if clip else 0) - (1 if cropped else 0)
        tokens = count * each
        projector = (
            Linear("linear_1", tower.width * layers, hidden, bias, tokens),
            Linear("linear_2", hidden, hidden, bias, tokens),
        )
        return Vision((*tower.blocks, Block("multi_modal_projector", projector)), tokens, _note(tower, count))

    return Description(text.blocks, vision=see, notes=text.notes)


def prefix_blocks(blocks: tuple[Block, ...]) -> tuple[Block, ...]:
    """The same decoder with a prompt whose positions all see each other."""
    return tuple(
        replace(
            block,
            operators=tuple(
                replace(operator, bidirectional_prompt=True) if isinstance(operator, Attention) else operator
                for operator in block.operators
            ),
        )
        for block in blocks
    )


def _paligemma(config: Reader, options: Options) -> Description:
    text, hidden = text_description(
        config, options, model_type="gemma", absent=_GEMMA_ABSENT, tied=config.flag("tie_word_embeddings")
    )
    vision, clip = _towers(config, _SIGLIP_ABSENT, "siglip_vision_model")
    width = config.size("projection_dim")
    if width != hidden:
        raise config.error("projection_dim", f"is {width}, the decoder's hidden size {hidden}", "they must be equal")

    def see(images: Sequence[ImageSize]) -> Vision:
        count = fixed_views(images, options)
        tower = vit_tower(vision, count, name="vision_tower", clip=clip)
        tokens = count * tower.patches
        projector = (Linear("linear", tower.width, width, True, tokens),)
        return Vision((*tower.blocks, Block("multi_modal_projector", projector)), tokens, _note(tower, count))

    note = "every position of the prompt attends the whole prompt (prefix language model), also under causal"
    return Description(prefix_blocks(text.blocks), vision=see, notes=(*text.notes, note))


FAMILIES = (
    Family(
        "llava",
        {
            "vision_config": None,
            "text_config": None,
            "vision_feature_layer": -2,
            "vision_feature_select_strategy": "default",
            "multimodal_projector_bias": True,
            "tie_word_embeddings": False,
        },
        _llava,
    ),
    Family(
        "paligemma",
        {"vision_config": None, "text_config": None, "projection_dim": 2048, "tie_word_embeddings": True},
        _paligemma,
    ),
)
