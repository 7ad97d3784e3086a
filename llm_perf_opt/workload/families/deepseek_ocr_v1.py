"""Running the first DeepSeek-OCR through the code that comes with the model.

What that code's `infer` does around `generate()` is done here instead, so that the loop can drive prefill and decode:
a global view padded to a square, local tiles beside it, and a row of image tokens for every row of both
(https://huggingface.co/deepseek-ai/DeepSeek-OCR/blob/main/modeling_deepseekocr.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from transformers import AutoModel, AutoTokenizer

from llm_perf_opt.config.schema import Config, Preprocess
from llm_perf_opt.errors import MissingError
from llm_perf_opt.records.inputs import Sample
from llm_perf_opt.workload.building import Built, checkpoint_source, explaining_load, load_checkpoint
from llm_perf_opt.workload.families.deepseek_ocr import DEFAULT_PROMPT, with_image, without_ends
from llm_perf_opt.workload.images import read_image
from llm_perf_opt.workload.loaded import Batch, LoadedModel, padded_positions
from llm_perf_opt.workload.weights import model_path

IMAGE_TOKEN = "<image>"
GREY = (127, 127, 127)
FEWEST_TILES, MOST_TILES = 2, 9
STRETCHED_UP_TO = 640
"""Without tiles, a view of at most this side is stretched to a square, a larger one padded."""


@dataclass(frozen=True)
class ViewSizes:
    """How a page is cut up; the defaults are those of `infer`."""

    base: int = 1024
    tile: int = 640
    crop: bool = True
    patch: int = 16
    downsample: int = 4

    def queries(self, side: int) -> int:
        """Image tokens along one side of a view."""
        return math.ceil(side // self.patch / self.downsample)


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
        self.prompt = with_image(config.dataset.prompt or DEFAULT_PROMPT).strip()
        self.sizes = _sizes(config.model.preprocess)
        self._image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)

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
        pages = [self._page(image) for image in images]
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

    def _page(self, image: Image.Image) -> Page:
        sizes = self.sizes
        tiles: list[Image.Image] = []
        grid = (1, 1)
        if sizes.crop:
            view = ImageOps.pad(image, (sizes.base, sizes.base), color=GREY)
            if max(image.size) > sizes.tile:
                grid = tile_grid(image.size, sizes.tile)
                tiles = cut(image, grid, sizes.tile)
        elif sizes.tile <= STRETCHED_UP_TO:
            view = image.resize((sizes.tile, sizes.tile))
        else:
            view = ImageOps.pad(image, (sizes.tile, sizes.tile), color=GREY)
        tokens = image_tokens(sizes, view.width, grid if tiles else None)
        ids, is_image = [self.tokenizer.bos_token_id or 0], [False]
        for number, text in enumerate(self.prompt.split(IMAGE_TOKEN)):
            if number == 1:  # the one image of the sample
                ids += [self._image_token_id] * tokens
                is_image += [True] * tokens
            encoded = self.tokenizer.encode(text, add_special_tokens=False)
            ids += encoded
            is_image += [False] * len(encoded)
        return Page(ids, is_image, view, tiles, grid)

    def _pixels(self, views: list[Image.Image]) -> torch.Tensor:
        """Views (n, 3, height, width) from −1 to 1; one of zeros stands for none, as the model's code expects."""
        if not views:
            side = self.sizes.base
            return torch.zeros((1, 3, side, side), dtype=self.model.dtype, device=self.device)
        arrays = np.stack([np.asarray(view, dtype=np.float32) for view in views])
        pixels = torch.from_numpy(arrays).permute(0, 3, 1, 2) / 127.5 - 1.0
        return pixels.to(self.device, self.model.dtype)


def image_tokens(sizes: ViewSizes, side: int, grid: tuple[int, int] | None) -> int:
    """Image tokens of a page: one more at the end of every row of queries, and one between the views."""
    queries = sizes.queries(side)
    tokens = queries * (queries + 1) + 1
    if grid is not None:
        columns, rows = grid
        local = sizes.queries(sizes.tile)
        tokens += (local * columns + 1) * local * rows
    return tokens


def tile_grid(size: tuple[int, int], tile: int) -> tuple[int, int]:
    """Tiles (columns, rows) nearest in shape to a page of `size`; of equals, the larger if half full."""
    width, height = size
    grids = [(columns, rows) for columns in range(1, MOST_TILES + 1) for rows in range(1, MOST_TILES + 1)]
    allowed = sorted((c * r, c, r) for c, r in grids if FEWEST_TILES <= c * r <= MOST_TILES)
    best, nearest = (1, 1), math.inf
    for count, columns, rows in allowed:
        distance = abs(width / height - columns / rows)
        if distance < nearest or (distance == nearest and width * height > 0.5 * tile * tile * count):
            best, nearest = (columns, rows), distance
    return best


def cut(image: Image.Image, grid: tuple[int, int], tile: int) -> list[Image.Image]:
    """The page stretched over the grid, in tiles row by row."""
    columns, rows = grid
    stretched = image.resize((columns * tile, rows * tile))
    return [
        stretched.crop((column * tile, row * tile, (column + 1) * tile, (row + 1) * tile))
        for row in range(rows)
        for column in range(columns)
    ]


def _sizes(preprocess: Preprocess) -> ViewSizes:
    if not preprocess.enable:
        return ViewSizes()
    given = {
        "base": preprocess.base_size,
        "tile": preprocess.image_size,
        "crop": preprocess.crop_mode,
        "patch": preprocess.patch_size,
        "downsample": preprocess.downsample_ratio,
    }
    return ViewSizes(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]


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
