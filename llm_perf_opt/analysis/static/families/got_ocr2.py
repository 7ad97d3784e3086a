"""GOT-OCR 2: SAM with two strided convolutions before a Qwen2 decoder."""

from __future__ import annotations

from collections.abc import Sequence

from llm_perf_opt.analysis.static.description import Block, Description, Family, ImageSize, Options, Vision
from llm_perf_opt.analysis.static.families.deepseek_ocr2 import SAM, sam_sizes
from llm_perf_opt.analysis.static.operators import Linear
from llm_perf_opt.analysis.static.reader import Reader
from llm_perf_opt.analysis.static.text_part import text_description
from llm_perf_opt.analysis.static.vision import one_size, sam_tower, strided_convolutions, sub_reader

VISION = {key: value for key, value in SAM.items() if key not in ("mlp_ratio", "downsample_channels")} | {
    "mlp_dim": 3072
}
_ABSENT = {
    "vocab_size": 151860,
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "tie_word_embeddings": True,
    "use_sliding_window": False,
}


def _describe(config: Reader, options: Options) -> Description:
    text, hidden = text_description(
        config, options, model_type="qwen2", absent=_ABSENT, tied=config.flag("tie_word_embeddings")
    )
    vision = sub_reader(config, "vision_config", VISION)
    sam, side = sam_sizes(vision), one_size(vision, "image_size")

    def see(images: Sequence[ImageSize]) -> Vision:
        views = tuple((side, side) for _ in images) if options.views is None else options.views
        grids = [width // sam.patch for width, _ in views]
        strided, left = strided_convolutions("multi_modal_projector", (sam.neck, 2 * sam.neck, hidden), grids)
        tokens = sum(one * one for one in left)
        blocks = (
            *sam_tower(sam, views, name="vision_tower"),
            strided,
            Block("multi_modal_projector", (Linear("multimodal_projector", hidden, hidden, True, tokens),)),
        )
        return Vision(blocks, tokens, (f"each image resized to {side}x{side}, no crops",))

    return Description(text.blocks, vision=see, notes=text.notes)


FAMILIES = (Family("got_ocr2", {"vision_config": None, "text_config": None, "tie_word_embeddings": True}, _describe),)
