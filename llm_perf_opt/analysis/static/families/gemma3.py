"""Gemma 3 with vision: SigLIP, average pooling to a fixed number of tokens, one projection."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

from llm_perf_opt.analysis.static.description import Block, Description, Family, ImageSize, Options, Vision
from llm_perf_opt.analysis.static.families.gemma import GEMMA3_TEXT, gemma3_blocks
from llm_perf_opt.analysis.static.families.llava import fixed_views
from llm_perf_opt.analysis.static.operators import Linear, Vector
from llm_perf_opt.analysis.static.reader import Reader
from llm_perf_opt.analysis.static.vision import SIGLIP_VISION, sub_reader, vit_tower


def _describe(config: Reader, options: Options) -> Description:
    text = sub_reader(config, "text_config", GEMMA3_TEXT)
    vision = sub_reader(config, "vision_config", SIGLIP_VISION)
    hidden, each = text.size("hidden_size"), config.size("mm_tokens_per_image")
    if isqrt(each) ** 2 != each:
        raise config.error("mm_tokens_per_image", f"is {each}, not a square", "give the model's own value")

    def see(images: Sequence[ImageSize]) -> Vision:
        count = fixed_views(images, options)
        tower = vit_tower(vision, count, name="vision_tower", clip=False)
        projector = (
            Vector("mm_soft_emb_norm", tower.width),
            Linear("mm_input_projection", tower.width, hidden, False, count * each),
        )
        notes = (f"{count} image(s) resized to the tower's own size; no pan and scan",)
        return Vision((*tower.blocks, Block("multi_modal_projector", projector)), count * each, notes)

    note = "image tokens attend each other in both directions; under causal only earlier ones are counted"
    return Description(gemma3_blocks(text, tied=config.flag("tie_word_embeddings")), vision=see, notes=(note,))


FAMILIES = (
    Family(
        "gemma3",
        {"text_config": None, "vision_config": None, "mm_tokens_per_image": 256, "tie_word_embeddings": True},
        _describe,
    ),
)
