"""Running the DeepSeek-OCR family of transformers' own classes on page images: a global view and local tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText

from llm_perf_opt.analysis.static.pages import TiledPages
from llm_perf_opt.config.schema import Config
from llm_perf_opt.records.inputs import Sample, SampleSizes
from llm_perf_opt.workload.building import Built, load_checkpoint
from llm_perf_opt.workload.families.image_text import ImageTextModel, Views, load_processor, processed
from llm_perf_opt.workload.images import read_image
from llm_perf_opt.workload.loaded import LoadedModel

DEFAULT_PROMPT = "<image>\n<|grounding|>Convert the document to markdown. "


class DeepseekOcrModel(ImageTextModel):
    """The family's native classes on pages that are cut up as `pages` says."""

    def __init__(self, built: Built, processor: Any, config: Config, pages: TiledPages) -> None:
        super().__init__(built, processor, with_image(config.dataset.prompt or DEFAULT_PROMPT), pages.options())

    def modules(self) -> Mapping[str, torch.nn.Module]:
        inner = self.model.model
        return {
            "sam": inner.vision_tower.sam_encoder,
            "clip": inner.vision_tower.vision_encoder,
            "projector": inner.multi_modal_projector,
        }

    def clean_text(self, ids: Sequence[int]) -> str:
        return without_ends(self, ids)

    def _placed(self, name: str, value: Any) -> Any:
        # Read on the host by the model to cut the flat list of tiles into pages: on a GPU it would wait there.
        if name == "num_local_patches" and isinstance(value, torch.Tensor):
            return value.tolist()
        return super()._placed(name, value)

    def _views(self, features: Mapping[str, Any], rows: int) -> Views:
        return page_views(features, rows)


def page_views(features: Mapping[str, Any], rows: int) -> Views:
    """The global view and the tiles of each page."""
    height, width = features["pixel_values"].shape[-2:]
    tiles = [int(count) for count in features["num_local_patches"]]
    local = features.get("pixel_values_local")
    tile = (0, 0) if local is None else (int(local.shape[-1]), int(local.shape[-2]))
    return tuple(((int(width), int(height)), *[tile] * tiles[row]) for row in range(rows))


def sample_sizes(processor: Any, config: Config, pages: TiledPages, sample: Sample) -> SampleSizes:
    """The tokens and views of a page with its instruction.

    Raises:
        BadSampleError: it cannot be read.
    """
    prompt = with_image(config.dataset.prompt or DEFAULT_PROMPT)
    features = processed(processor, [read_image(Path(str(sample.path)))], prompt, pages.options())
    ids = features["input_ids"]
    return SampleSizes(
        prompt_tokens=int(ids.shape[1]),
        image_tokens=int((ids == processor.image_token_id).sum()),
        views=page_views(features, 1)[0],
    )


def with_image(prompt: str) -> str:
    """`prompt` with a place for the image, in front unless it has one."""
    return prompt if "<image>" in prompt else f"<image>\n{prompt}"


def without_ends(loaded: LoadedModel, ids: Sequence[int]) -> str:
    """The text of `ids` with its layout markup, but without what begins, ends or pads it."""
    ends = {loaded.pad_token_id, *loaded.eos_token_ids, loaded.tokenizer.bos_token_id}
    return loaded.raw_text([token for token in ids if token not in ends])


def load_deepseek_ocr(config: Config, device: torch.device, pages: TiledPages) -> DeepseekOcrModel:
    """The model and processor at `model.path`.

    Raises:
        MissingError, ConfigError, StageError: as `load_checkpoint` says.
    """
    built = load_checkpoint(AutoModelForImageTextToText, config, device)
    return DeepseekOcrModel(built, load_processor(config), config, pages)
