"""Running a DeepSeek-OCR-2 model of transformers' own classes on page images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from llm_perf_opt.config.schema import Config
from llm_perf_opt.records.inputs import Sample
from llm_perf_opt.workload.building import Built
from llm_perf_opt.workload.images import read_image
from llm_perf_opt.workload.loaded import Batch, LoadedModel

DEFAULT_PROMPT = "<image>\n<|grounding|>Convert the document to markdown. "


class DeepseekOcrModel(LoadedModel):
    """The family's native classes; `max_tiles` bounds the local views of one page."""

    def __init__(self, built: Built, processor: Any, config: Config, *, max_tiles: int) -> None:
        super().__init__(built, processor.tokenizer)
        self.processor = processor
        self.prompt = config.dataset.prompt or DEFAULT_PROMPT
        if "<image>" not in self.prompt:
            self.prompt = f"<image>\n{self.prompt}"
        self._image_options: dict[str, Any] = {"max_patches": max_tiles}
        preprocess = config.model.preprocess
        if preprocess.enable:
            if preprocess.base_size is not None:
                self._image_options["size"] = {"height": preprocess.base_size, "width": preprocess.base_size}
            if preprocess.image_size is not None:
                self._image_options["tile_size"] = preprocess.image_size
            if preprocess.crop_mode is not None:
                self._image_options["crop_to_patches"] = preprocess.crop_mode

    def prepare(self, samples: Sequence[Sample]) -> Batch:
        return self._batch([read_image(Path(str(sample.path))) for sample in samples])

    def synthetic(self) -> Batch:
        return self._batch([Image.new("RGB", (64, 64), "white")])

    def modules(self) -> Mapping[str, torch.nn.Module]:
        inner = self.model.model
        return {
            "sam": inner.vision_tower.sam_encoder,
            "clip": inner.vision_tower.vision_encoder,
            "projector": inner.multi_modal_projector,
        }

    def clean_text(self, ids: Sequence[int], *, strip_markup: bool) -> str:
        if strip_markup:
            return super().clean_text(ids, strip_markup=True)
        ends = {self.pad_token_id, *self.eos_token_ids, self.tokenizer.bos_token_id}
        return self.raw_text([token for token in ids if token not in ends])

    def _batch(self, images: list[Image.Image]) -> Batch:
        features = self.processor(
            images=images,
            text=[self.prompt] * len(images),
            return_tensors="pt",
            padding=True,
            processor_kwargs=self._image_options,
        )
        input_ids, mask = features.pop("input_ids"), features.pop("attention_mask")
        image_tokens = (input_ids == self.model.config.image_token_id).sum(-1).tolist()
        prompt_tokens = mask.sum(-1).tolist()
        extra = {
            name: value.to(self.device, self.model.dtype if value.is_floating_point() else None)
            if isinstance(value, torch.Tensor)
            else value
            for name, value in features.items()
        }
        # Read on the host by the model to cut the flat list of tiles into pages: on a GPU it would wait there.
        if isinstance(extra.get("num_local_patches"), torch.Tensor):
            extra["num_local_patches"] = features["num_local_patches"].tolist()
        padded = min(prompt_tokens) < input_ids.shape[1]
        return Batch(
            input_ids=input_ids.to(self.device),
            attention_mask=mask.to(self.device) if padded else None,
            prompt_tokens=tuple(prompt_tokens),
            image_tokens=tuple(image_tokens),
            image_sizes=tuple((image.width, image.height) for image in images),
            views=_views(extra, len(images)),
            extra=extra,
        )


def _views(extra: Mapping[str, Any], rows: int) -> tuple[tuple[tuple[int, int], ...], ...]:
    """(width, height) of the global view and the tiles of each page."""
    height, width = extra["pixel_values"].shape[-2:]
    tiles = extra.get("num_local_patches") or [0] * rows
    local = extra.get("pixel_values_local")
    tile = (0, 0) if local is None else (int(local.shape[-1]), int(local.shape[-2]))
    return tuple(((int(width), int(height)), *[tile] * int(tiles[row])) for row in range(rows))
