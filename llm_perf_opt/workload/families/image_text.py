"""Running any vision-language model of transformers on one image and an instruction per sample."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from transformers import PROCESSOR_MAPPING, AutoConfig, AutoModelForImageTextToText, AutoProcessor

from llm_perf_opt.analysis.traced.processors import default_image_processor
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import StageError
from llm_perf_opt.records.inputs import MadeUp, Sample, SampleSizes
from llm_perf_opt.workload.building import (
    PROCESSOR_FILES,
    Built,
    check_text_files,
    checkpoint_source,
    explaining_load,
    load_checkpoint,
)
from llm_perf_opt.workload.families.made_up import (
    around,
    drawn_ids,
    drawn_images,
    image_tokens,
)
from llm_perf_opt.workload.images import read_image
from llm_perf_opt.workload.inputs import BadSampleError
from llm_perf_opt.workload.loaded import Batch, LoadedModel, padded_positions
from llm_perf_opt.workload.transformers_private import own_positions
from llm_perf_opt.workload.weights import model_path

DEFAULT_PROMPT = "Describe this image."
PLACEHOLDER = "<image>"

# What transformers' classes call their parts, below `model.model` or `model`; the first that is there is taken.
VISION_NAMES = ("vision_tower", "visual", "vision_model", "vision_encoder", "image_encoder")
PROJECTOR_NAMES = ("multi_modal_projector", "connector", "mm_projector", "aligner", "modality_projection", "merger")


Views = tuple[tuple[tuple[int, int], ...], ...]
"""For each row, (width, height) of every view."""


class ImageTextModel(LoadedModel):
    """A model of `AutoModelForImageTextToText` with its own processor; images go in at their real sizes.

    Without a processor it runs samples that are made up in given sizes.
    """

    def __init__(
        self, built: Built, processor: Any, prompt: str, image_options: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(built, None if processor is None else processor.tokenizer)
        self.processor = processor
        self._image_processor: Any = None
        self.image_options = dict(image_options or {})
        self.prompt = prompt
        tokenizer = self.tokenizer
        if tokenizer is None:
            return
        tokenizer.padding_side = "left"
        if tokenizer.pad_token is None:
            # Padding is masked, so any token will do.
            tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(self.pad_token_id)

    def prepare(self, samples: Sequence[Sample]) -> Batch:
        if any(sample.made_up is not None and sample.made_up.prompt_tokens is not None for sample in samples):
            batch = self._made_up([sample.made_up for sample in samples if sample.made_up is not None])
        else:
            batch = self._batch([_image_of(sample) for sample in samples])
        for tokens, sample in zip(batch.prompt_tokens, samples, strict=True):
            self.check_window(tokens, sample.source)
        return batch

    def synthetic(self) -> Batch:
        if self.processor is None:
            return self._made_up([MadeUp(prompt_tokens=8, images=((64, 64),), seed=0)])
        return self._batch([Image.new("RGB", (64, 64), "white")])

    def modules(self) -> Mapping[str, torch.nn.Module]:
        found = {"vision": self._part(VISION_NAMES), "projector": self._part(PROJECTOR_NAMES)}
        return {name: module for name, module in found.items() if module is not None}

    def _part(self, names: Sequence[str]) -> torch.nn.Module | None:
        parts = (getattr(inner, name, None) for inner in (self.model.model, self.model) for name in names)
        return next((part for part in parts if isinstance(part, torch.nn.Module)), None)

    def _batch(self, images: list[Image.Image]) -> Batch:
        features = processed(self.processor, images, self.prompt, self.image_options)
        input_ids, mask = features.pop("input_ids"), features.pop("attention_mask")
        # What a processor makes for training; `generate()` forwards it to no model.
        features.pop("labels", None)
        return self._placed_batch(input_ids, mask, features, [[image] for image in images])

    def _made_up(self, samples: Sequence[MadeUp]) -> Batch:
        """Rows of drawn ids around drawn images."""
        images = [drawn_images(sample) for sample in samples]
        features, counts = self._pixels(images) if images[0] else ({}, [[] for _ in samples])
        image_id = image_token_id(self.model.config, self.processor)
        rows = [
            around(drawn_ids(self.model.config, sample.prompt_tokens or 0, sample.seed), tokens, image_id)
            for sample, tokens in zip(samples, counts, strict=True)
        ]
        input_ids = torch.tensor(rows)
        takes = inspect.signature(self.model.forward).parameters
        for name in ("mm_token_type_ids", "token_type_ids"):
            features.pop(name, None)
            if name in takes and images[0]:
                features[name] = (input_ids == image_id).long()
        return self._placed_batch(input_ids, torch.ones_like(input_ids), features, images)

    def _pixels(self, images: list[list[Image.Image]]) -> tuple[dict[str, Any], list[list[int]]]:
        """The inputs of the image path, and the tokens of each image of each row."""
        if self.processor is None:
            if self._image_processor is None:
                self._image_processor = default_image_processor(self.model.config, str(self.model.config.model_type))
            flat = [image for row in images for image in row]
            takes = inspect.signature(self.model.forward).parameters
            made = dict(self._image_processor(flat, return_tensors="pt"))
            features = {name: value for name, value in made.items() if name in takes}
            placed = {name: self._placed(name, value) for name, value in features.items()}
            tokens = iter(image_tokens(self.model, placed))
            return features, [[next(tokens) for _ in row] for row in images]
        token = getattr(self.processor, "image_token", None) or PLACEHOLDER
        features = dict(
            self.processor(
                images=images,
                text=[token * len(row) for row in images],
                return_tensors="pt",
                padding=True,
                images_kwargs=self.image_options,
            )
        )
        ids = features.pop("input_ids")
        for name in ("attention_mask", "labels"):
            features.pop(name, None)
        totals = (ids == image_token_id(self.model.config, self.processor)).sum(-1).tolist()
        if all(len(row) == 1 for row in images):
            return features, [[total] for total in totals]
        # The processor tells the sum of a row alone.
        return features, [[self._pixels([[image]])[1][0][0] for image in row] for row in images]

    def _placed_batch(
        self, input_ids: torch.Tensor, mask: torch.Tensor, features: dict[str, Any], images: list[list[Image.Image]]
    ) -> Batch:
        pictured = input_ids == image_token_id(self.model.config, self.processor)
        # Some put a number beyond their vocabulary where an image goes.
        self.check_tokens(int(input_ids.masked_fill(pictured, 0).max()), "the prompt")
        prompt_tokens = tuple(mask.sum(-1).tolist())
        padded = min(prompt_tokens) < input_ids.shape[1]
        positions = own_positions(self.model, input_ids, mask, features)
        if positions is None and padded:
            positions = padded_positions(mask)
        return Batch(
            input_ids=input_ids.to(self.device),
            attention_mask=mask.to(self.device) if padded else None,
            prompt_tokens=prompt_tokens,
            image_tokens=tuple(pictured.sum(-1).tolist()),
            image_sizes=tuple(row[0].size for row in images if row),
            views=self._views(features, len(images)) if images[0] else (),
            positions=None if positions is None else positions.to(self.device),
            extra={name: self._placed(name, value) for name, value in features.items()},
        )

    def _placed(self, name: str, value: Any) -> Any:
        """An input of the model on its device; pixels in its type."""
        if not isinstance(value, torch.Tensor):
            return value
        return value.to(self.device, self.model.dtype if value.is_floating_point() else None)

    def _views(self, features: Mapping[str, Any], rows: int) -> Views:
        return views_of(self.model.config, features, rows)


def processed(processor: Any, images: Sequence[Image.Image], prompt: str, options: Mapping[str, Any]) -> Any:
    """What the model's processor makes of one image and the prompt for each row.

    Raises:
        BadSampleError: it refuses the size of an image.
    """
    try:
        return processor(
            images=[[image] for image in images],
            text=[prompt] * len(images),
            return_tensors="pt",
            padding=True,
            images_kwargs=dict(options),
        )
    except ValueError as error:
        sizes = ", ".join(f"{image.width}×{image.height}" for image in images)
        raise BadSampleError(f"the model's processor refuses an image of {sizes} pixels: {error}") from error


def image_token_id(hf_config: Any, processor: Any) -> int:
    """The id that stands for a piece of an image; −1 where there is none."""
    for owner in (hf_config, processor):
        for name in ("image_token_id", "image_token_index"):
            if isinstance(found := getattr(owner, name, None), int):
                return found
    return -1


def views_of(hf_config: Any, features: Mapping[str, Any], rows: int) -> Views:
    """For each row, (width, height) of what goes through the vision tower; empty where the input does not tell."""
    grid, pixels = features.get("image_grid_thw"), features.get("pixel_values")
    if grid is not None:
        side = hf_config.vision_config.patch_size
        return tuple(((int(width) * side, int(height) * side),) for _, height, width in grid.tolist())
    if not isinstance(pixels, torch.Tensor) or pixels.ndim not in (4, 5):
        return ()
    count = pixels.shape[0] * (pixels.shape[1] if pixels.ndim == 5 else 1)
    if count % rows:
        return ()
    return (((int(pixels.shape[-1]), int(pixels.shape[-2])),) * (count // rows),) * rows


def sample_sizes(config: Config, sample: Sample) -> SampleSizes:
    """The tokens and views of an image with its instruction.

    Raises:
        BadSampleError, MissingError, ConfigError, StageError: it cannot be read, or the processor cannot.
    """
    processor = load_processor(config)
    hf_config = AutoConfig.from_pretrained(**checkpoint_source(config))
    prompt = instruction(processor, config.dataset.prompt or DEFAULT_PROMPT)
    features = processed(processor, [read_image(Path(str(sample.path)))], prompt, {})
    views = views_of(hf_config, features, 1)
    return SampleSizes(
        prompt_tokens=int(features["input_ids"].shape[1]),
        image_tokens=int((features["input_ids"] == image_token_id(hf_config, processor)).sum()),
        views=views[0] if views else (),
    )


def _image_of(sample: Sample) -> Image.Image:
    if sample.made_up is None:
        return read_image(Path(str(sample.path)))
    if len(sample.made_up.images) != 1:
        raise BadSampleError(f"{sample.source}: a prompt of words goes with one image")
    return drawn_images(sample.made_up)[0]


def load_image_text(config: Config, device: torch.device) -> ImageTextModel:
    """The model and processor at `model.path`.

    Raises:
        MissingError, ConfigError, StageError: as `load_checkpoint` says.
    """
    has_processor = check_text_files(config, PROCESSOR_FILES)
    built = load_checkpoint(AutoModelForImageTextToText, config, device)
    if not has_processor:
        return ImageTextModel(built, None, "")
    processor = load_processor(config)
    return ImageTextModel(built, processor, instruction(processor, config.dataset.prompt or DEFAULT_PROMPT))


def load_processor(config: Config) -> Any:
    """The processor at `model.path`, which must have a tokenizer and an image processor.

    Raises:
        MissingError, ConfigError, StageError: as `load_checkpoint` says.
    """
    path = model_path(config.model)
    source = checkpoint_source(config)
    with explaining_load(path):
        image_only = None if find_spec("torchvision") else _image_only(source)
        processor = (image_only or AutoProcessor).from_pretrained(**source)
    if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
        raise StageError(
            f"{path} has no processor for images and text", "the directory needs the checkpoint's processor files"
        )
    return processor


def _image_only(source: Mapping[str, Any]) -> Any:
    """The processor class of a checkpoint without its part for videos, which exists only with torchvision; None where
    it has no such part. Torchvision is not among our packages: it would double the time that transformers takes to
    import, for models that are given images only."""
    known = PROCESSOR_MAPPING.get(type(AutoConfig.from_pretrained(**source)), None)
    if known is None or "video_processor" not in known.get_attributes():
        return None
    kept = [name for name in known.get_attributes() if name != "video_processor"]
    return type(known.__name__, (known,), {"get_attributes": classmethod(lambda _class: kept)})


def instruction(processor: Any, prompt: str) -> str:
    """`prompt` and the model's placeholder for the image, in the chat format of the model where it has one.

    `<image>` in the prompt says where the image goes; the chat format has its own place for it, in front.
    """
    token = getattr(processor, "image_token", None) or PLACEHOLDER
    if getattr(processor, "chat_template", None) is None:
        placed = prompt if token in prompt else prompt.replace(PLACEHOLDER, token)
        return placed if token in placed else f"{token}\n{prompt}"
    text = prompt.replace(token, "").replace(PLACEHOLDER, "").strip()
    content = [{"type": "image"}, {"type": "text", "text": text}]
    return str(processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True))
