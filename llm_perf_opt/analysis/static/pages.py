"""How the DeepSeek-OCR families cut a page into views, and the tokens these become in the prompt.

Static analysis counts by it and the workload prepares its pages by it, so that both speak of the same tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from llm_perf_opt.analysis.static.description import ImageSize
from llm_perf_opt.analysis.static.vision import best_grid

PATCH, DOWNSAMPLE = 16, 4
"""Pixels along one side of a patch, and patches along one side of an image token: what the weights were made for."""


@dataclass(frozen=True, slots=True)
class PageViews:
    """One page as it goes through the encoders."""

    views: tuple[ImageSize, ...]
    """The global view first, then the tiles row by row."""
    tokens: int
    """In the prompt, row ends and separators included."""


class Pages(Protocol):
    """How pages of any size are prepared."""

    def of(self, page: ImageSize) -> PageViews:
        """The views of a page of that width and height."""


def queries(side: int) -> int:
    """Image tokens along one side of a square view."""
    return -(-(side // PATCH) // DOWNSAMPLE)


@dataclass(frozen=True, slots=True)
class GundamPages:
    """The first DeepSeek-OCR; the defaults are its 'Gundam' mode.

    https://huggingface.co/deepseek-ai/DeepSeek-OCR/blob/main/modeling_deepseekocr.py, `infer`.
    """

    base: int = 1024
    """Side of the global view of a page that is cut up."""
    tile: int = 640
    """Side of a tile; of the one view where pages are not cut up."""
    crop: bool = True

    FEWEST, MOST = 2, 9

    def grid(self, page: ImageSize) -> tuple[int, int] | None:
        """Tiles (columns, rows) of a page; None where it has none."""
        if not self.crop or max(page) <= self.tile:
            return None
        return best_grid(page, self.tile, self.FEWEST, self.MOST)

    def of(self, page: ImageSize) -> PageViews:
        side = self.base if self.crop else self.tile
        along, grid = queries(side), self.grid(page)
        # One token more at the end of every row, and one between the views.
        tokens = along * (along + 1) + 1
        if grid is None:
            return PageViews(((side, side),), tokens)
        columns, rows = grid
        local = queries(self.tile)
        tokens += (local * columns + 1) * local * rows
        return PageViews(((side, side), *[(self.tile, self.tile)] * (columns * rows)), tokens)


@dataclass(frozen=True, slots=True)
class TiledPages:
    """DeepSeek-OCR-2 as transformers prepares it (DeepseekOcr2ImageProcessor, DeepseekOcr2Processor)."""

    base: int = 1024
    """Side of the global view of a page that is cut up."""
    tile: int = 768
    """Side of a tile; of the one view where pages are not cut up."""
    crop: bool = True
    fewest: int = 2
    most: int = 6

    SIDES = (768, 1024)
    """Views that the model has learnt queries for (DeepseekOcr2VisionModel.forward)."""

    @property
    def side(self) -> int:
        """Of the global view."""
        return self.base if self.crop else self.tile

    def options(self) -> dict[str, Any]:
        """The same for transformers' image processor, which takes the size of an only view from one option and the
        number of its tokens from the other."""
        return {
            "size": {"height": self.side, "width": self.side},
            "tile_size": self.tile,
            "crop_to_patches": self.crop,
            "min_patches": self.fewest,
            "max_patches": self.most,
        }

    def of(self, page: ImageSize) -> PageViews:
        views = [(self.side, self.side)]
        if self.crop and max(page) > self.tile:
            columns, rows = best_grid(page, self.tile, self.fewest, self.most)
            views += [(self.tile, self.tile)] * (columns * rows)
        # The last is the separator.
        return PageViews(tuple(views), sum(queries(side) ** 2 for side, _ in views) + 1)


def tiled_pages(processor: Mapping[str, Any]) -> TiledPages:
    """What the files of an image processor ask for."""
    usual = TiledPages()
    size = processor.get("size")
    return TiledPages(
        base=int(size["height"]) if isinstance(size, Mapping) and "height" in size else usual.base,
        tile=int(processor.get("tile_size", usual.tile)),
        crop=bool(processor.get("crop_to_patches", usual.crop)),
        fewest=int(processor.get("min_patches", usual.fewest)),
        most=int(processor.get("max_patches", usual.most)),
    )


def together(pages: Sequence[PageViews]) -> PageViews:
    """All pages of one prompt."""
    return PageViews(tuple(view for page in pages for view in page.views), sum(page.tokens for page in pages))
