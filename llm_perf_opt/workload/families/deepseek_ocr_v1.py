"""Running the first DeepSeek-OCR through the code that comes with the model.

What that code's `infer` does around `generate()` is done here instead, so that the loop can drive prefill and decode:
a global view padded to a square, local tiles beside it, and a row of image tokens for every row of both
(https://huggingface.co/deepseek-ai/DeepSeek-OCR/blob/main/modeling_deepseekocr.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from transformers import AutoModel, AutoTokenizer

from llm_perf_opt.analysis.static.pages import GundamPages
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import MissingError
from llm_perf_opt.records.inputs import Sample, SampleSizes
from llm_perf_opt.workload.building import (
    Built,
    checkpoint_source,
    explaining_load,
    load_checkpoint,
    tokenizer_without_code,
)
from llm_perf_opt.workload.families.deepseek_ocr import DEFAULT_PROMPT, with_image, without_ends
from llm_perf_opt.workload.images import read_image
from llm_perf_opt.workload.loaded import Batch, LoadedModel, padded_positions
from llm_perf_opt.workload.preprocess import gundam_pages
from llm_perf_opt.workload.weights import model_path

IMAGE_TOKEN = "<image>"
GREY = (127, 127, 127)
STRETCHED_UP_TO = 640
"""Without tiles, a view of at most this side is stretched to a square, a larger one padded."""


@dataclass(frozen=True)
class Page:
    """One page as the model takes it."""

    ids: list[int]
    is_image: list[bool]
    view: Image.Image
    tiles: list[Image.Image]
    grid: tuple[int, int]
    """Tiles (columns, rows); (1, 1) without any."""


class DeepseekOcrV1Model(LoadedModel):
    """The remote classes' `forward` with `images`, `images_seq_mask` and `images_spatial_crop`."""

    def __init__(self, built: Built, tokenizer: Any, config: Config) -> None:
        generation = built.model.generation_config
        if generation.eos_token_id is None:
            generation.eos_token_id = tokenizer.eos_token_id
        super().__init__(built, tokenizer)
        self.prompt = instruction_of(config)
        self.pages = gundam_pages(config)

    def prepare(self, samples: Sequence[Sample]) -> Batch:
        batch = self._batch([read_image(Path(str(sample.path))) for sample in samples])
        for tokens, sample in zip(batch.prompt_tokens, samples, strict=True):
            self.check_window(tokens, sample.source)
        return batch

    def synthetic(self) -> Batch:
        return self._batch([Image.new("RGB", (64, 64), "white")])

    def modules(self) -> Mapping[str, torch.nn.Module]:
        inner = self.model.model
        return {"sam": inner.sam_model, "clip": inner.vision_model, "projector": inner.projector}

    def clean_text(self, ids: Sequence[int]) -> str:
        return without_ends(self, ids)

    def _batch(self, images: list[Image.Image]) -> Batch:
        pages = [page_of(image, self.tokenizer, self.prompt, self.pages) for image in images]
        lengths = tuple(len(page.ids) for page in pages)
        longest = max(lengths)
        ids = torch.full((len(pages), longest), self.pad_token_id)
        mask = torch.zeros((len(pages), longest), dtype=torch.long)
        is_image = torch.zeros((len(pages), longest), dtype=torch.bool)
        for row, page in enumerate(pages):
            start = longest - len(page.ids)
            ids[row, start:] = torch.tensor(page.ids)
            mask[row, start:] = 1
            is_image[row, start:] = torch.tensor(page.is_image)
        padded = min(lengths) < longest
        return Batch(
            input_ids=ids.to(self.device),
            attention_mask=mask.to(self.device) if padded else None,
            positions=padded_positions(mask).to(self.device) if padded else None,
            prompt_tokens=lengths,
            image_tokens=tuple(sum(page.is_image) for page in pages),
            image_sizes=tuple((image.width, image.height) for image in images),
            views=tuple((page.view.size, *(tile.size for tile in page.tiles)) for page in pages),
            extra={
                "images": [(self._pixels(page.tiles), self._pixels([page.view])) for page in pages],
                "images_seq_mask": is_image.to(self.device),
                "images_spatial_crop": torch.tensor([page.grid for page in pages]),
            },
        )

    def _pixels(self, views: list[Image.Image]) -> torch.Tensor:
        """Views (n, 3, height, width) from −1 to 1; one of zeros stands for none, as the model's code expects."""
        if not views:
            side = self.pages.base
            return torch.zeros((1, 3, side, side), dtype=self.model.dtype, device=self.device)
        arrays = np.stack([np.asarray(view, dtype=np.float32) for view in views])
        pixels = torch.from_numpy(arrays).permute(0, 3, 1, 2) / 127.5 - 1.0
        return pixels.to(self.device, self.model.dtype)


def page_of(image: Image.Image, tokenizer: Any, prompt: str, pages: GundamPages) -> Page:
    """A page with the instruction that goes with it."""
    found, grid = pages.of(image.size), pages.grid(image.size)
    side = found.views[0][0]
    if not pages.crop and side <= STRETCHED_UP_TO:
        view = image.resize((side, side))
    else:
        view = ImageOps.pad(image, (side, side), color=GREY)
    tiles = [] if grid is None else cut(image, grid, pages.tile)
    placeholder = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
    ids, is_image = [tokenizer.bos_token_id or 0], [False]
    for number, text in enumerate(prompt.split(IMAGE_TOKEN)):
        if number == 1:  # the one image of the sample
            ids += [placeholder] * found.tokens
            is_image += [True] * found.tokens
        encoded = tokenizer.encode(text, add_special_tokens=False)
        ids += encoded
        is_image += [False] * len(encoded)
    return Page(ids, is_image, view, tiles, grid or (1, 1))


def instruction_of(config: Config) -> str:
    return with_image(config.dataset.prompt or DEFAULT_PROMPT).strip()


def sample_sizes(config: Config, sample: Sample) -> SampleSizes:
    """The tokens and views of a page with its instruction; runs no code of the model's.

    Raises:
        BadSampleError, MissingError, StageError: it cannot be read, or the tokenizer cannot.
    """
    tokenizer = tokenizer_without_code(config)
    page = page_of(read_image(Path(str(sample.path))), tokenizer, instruction_of(config), gundam_pages(config))
    views = (page.view.size, *(tile.size for tile in page.tiles))
    return SampleSizes(prompt_tokens=len(page.ids), image_tokens=sum(page.is_image), views=views)


def cut(image: Image.Image, grid: tuple[int, int], tile: int) -> list[Image.Image]:
    """The page stretched over the grid, in tiles row by row."""
    columns, rows = grid
    stretched = image.resize((columns * tile, rows * tile))
    return [
        stretched.crop((column * tile, row * tile, (column + 1) * tile, (row + 1) * tile))
        for row in range(rows)
        for column in range(columns)
    ]


def load_deepseek_ocr_v1(config: Config, device: torch.device) -> DeepseekOcrV1Model:
    """The model and tokenizer at `model.path`; runs the Python code there.

    Raises:
        MissingError: files are missing, or that code cannot be imported here.
        ConfigError, StageError: as `load_checkpoint` says.
    """
    try:
        built = load_checkpoint(AutoModel, config, device)
    except MissingError as error:
        if not isinstance(error.__cause__, ImportError):
            raise
        from transformers import __version__

        raise MissingError(
            f"the code at {config.model.path} cannot be imported: {error.__cause__}. It targets transformers 4.46; "
            f"this is {__version__}",
            "install what it names; its model card asks for transformers==4.46.3 tokenizers==0.20.3 einops addict "
            "easydict, in an environment of their own. Or use model.name: deepseek_ocr2, which needs no remote code",
        ) from error
    with explaining_load(model_path(config.model)):
        tokenizer = AutoTokenizer.from_pretrained(**checkpoint_source(config))
    return DeepseekOcrV1Model(built, tokenizer, config)
