"""Running the DeepSeek-OCR family of transformers' own classes on page images: a global view and local tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import AutoModelForImageTextToText

from llm_perf_opt.config.schema import Config, Preprocess
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.workload.building import Built, load_checkpoint
from llm_perf_opt.workload.families.image_text import ImageTextModel, load_processor
from llm_perf_opt.workload.loaded import LoadedModel

DEFAULT_PROMPT = "<image>\n<|grounding|>Convert the document to markdown. "

# Views whose tokens the second version has learnt queries for: 256 queries of a 1024 view, 144 of a 768 one
# (transformers, DeepseekOcr2VisionModel.forward).
QUERY_SIZES = {"deepseek_ocr2": (768, 1024)}


class DeepseekOcrModel(ImageTextModel):
    """The family's native classes; `max_tiles` bounds the local views of one page, None leaves the processor's own."""

    def __init__(self, built: Built, processor: Any, config: Config, *, max_tiles: int | None = None) -> None:
        options: dict[str, Any] = {} if max_tiles is None else {"max_patches": max_tiles}
        preprocess = config.model.preprocess
        if preprocess.enable:
            options |= _image_options(preprocess, built.model.config.model_type)
            if preprocess.patch_size is not None:
                processor.patch_size = preprocess.patch_size
            if preprocess.downsample_ratio is not None:
                processor.downsample_ratio = preprocess.downsample_ratio
        super().__init__(built, processor, with_image(config.dataset.prompt or DEFAULT_PROMPT), options)

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

    def _views(self, features: Mapping[str, Any], rows: int) -> tuple[tuple[tuple[int, int], ...], ...]:
        """The global view and the tiles of each page."""
        height, width = features["pixel_values"].shape[-2:]
        tiles = [int(count) for count in features["num_local_patches"]]
        local = features.get("pixel_values_local")
        tile = (0, 0) if local is None else (int(local.shape[-1]), int(local.shape[-2]))
        return tuple(((int(width), int(height)), *[tile] * tiles[row]) for row in range(rows))


def with_image(prompt: str) -> str:
    """`prompt` with a place for the image, in front unless it has one."""
    return prompt if "<image>" in prompt else f"<image>\n{prompt}"


def without_ends(loaded: LoadedModel, ids: Sequence[int]) -> str:
    """The text of `ids` with its layout markup, but without what begins, ends or pads it."""
    ends = {loaded.pad_token_id, *loaded.eos_token_ids, loaded.tokenizer.bos_token_id}
    return loaded.raw_text([token for token in ids if token not in ends])


def _image_options(preprocess: Preprocess, model_type: str) -> dict[str, Any]:
    """The image processor's options for `model.preprocess`.

    Raises:
        ConfigError: a view has a size that the model cannot take.
    """
    sizes = QUERY_SIZES.get(model_type)
    for key, side in (("base_size", preprocess.base_size), ("image_size", preprocess.image_size)):
        if sizes is not None and side is not None and side not in sizes:
            raise ConfigError(
                f"model.preprocess.{key}: {side} is no size {model_type} has queries for",
                f"set it to {' or '.join(map(str, sizes))}",
            )
    options: dict[str, Any] = {}
    if preprocess.base_size is not None:
        options["size"] = {"height": preprocess.base_size, "width": preprocess.base_size}
    if preprocess.image_size is not None:
        options["tile_size"] = preprocess.image_size
    if preprocess.crop_mode is not None:
        options["crop_to_patches"] = preprocess.crop_mode
    return options


def load_deepseek_ocr(config: Config, device: torch.device) -> DeepseekOcrModel:
    """The model and processor at `model.path`.

    Raises:
        MissingError, ConfigError, StageError: as `load_checkpoint` says.
    """
    built = load_checkpoint(AutoModelForImageTextToText, config, device)
    return DeepseekOcrModel(built, load_processor(config), config)
