"""How pages are cut up: as the families' own code does it, under every setting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.deepseek_ocr2.image_processing_pil_deepseek_ocr2 import get_optimal_tiled_canvas

from llm_perf_opt.analysis.static.pages import GundamPages, PageViews, TiledPages, tiled_pages, together
from llm_perf_opt.workload.adapters.demo import processor
from llm_perf_opt.workload.families.deepseek_ocr import page_views

SIDE = st.integers(1, 5000)


@given(st.tuples(SIDE, SIDE), st.sampled_from(TiledPages.SIDES), st.integers(1, 3), st.integers(3, 9))
def test_tiles_are_those_of_transformers(page: tuple[int, int], tile: int, fewest: int, most: int) -> None:
    found = TiledPages(tile=tile, fewest=fewest, most=most).of(page)
    width, height = page
    columns, rows = get_optimal_tiled_canvas((height, width), (tile, tile), fewest, most)
    tiles = columns * rows if max(page) > tile else 0
    assert found.views == ((1024, 1024), *[(tile, tile)] * tiles)


@pytest.mark.parametrize("crop", [True, False])
@pytest.mark.parametrize("base", TiledPages.SIDES)
@pytest.mark.parametrize("tile", TiledPages.SIDES)
@pytest.mark.parametrize("page", [(40, 40), (1100, 300)], ids=str)
def test_views_and_tokens_are_those_of_the_processor(page: tuple[int, int], tile: int, base: int, crop: bool) -> None:
    pages = TiledPages(base=base, tile=tile, crop=crop)
    made = processor()
    image = np.zeros((page[1], page[0], 3), dtype=np.uint8)
    options = pages.options()
    features = made(images=[[image]], text=["<image>"], return_tensors="pt", images_kwargs=options)
    tokens = int((features["input_ids"] == made.image_token_id).sum())
    assert pages.of(page) == PageViews(page_views(features, 1)[0], tokens)


def test_gundam_small_and_tiny() -> None:
    page = (1224, 1584)
    gundam = GundamPages().of(page)
    # 273 of the global view, and 10 queries a side of each tile, one more at the end of every row of them.
    assert gundam == PageViews(((1024, 1024), *[(640, 640)] * 6), 273 + (20 + 1) * 30)
    assert GundamPages(tile=640, crop=False).of(page) == PageViews(((640, 640),), 111)
    assert GundamPages(base=512, tile=512, crop=False).of(page) == PageViews(((512, 512),), 73)
    assert GundamPages().of((640, 640)) == PageViews(((1024, 1024),), 16 * 17 + 1)


@pytest.mark.parametrize(
    ("size", "grid"), [((909, 615), (3, 2)), ((1000, 3000), (1, 3)), ((2000, 2000), (3, 3)), ((700, 700), (2, 2))]
)
def test_grid_of_the_first_version(size: tuple[int, int], grid: tuple[int, int]) -> None:
    assert GundamPages().grid(size) == grid


def test_pages_of_one_prompt_add_up() -> None:
    one, other = TiledPages().of((40, 40)), TiledPages().of((800, 600))
    both = together([one, other])
    assert both == PageViews((*one.views, *other.views), one.tokens + other.tokens)


def test_files_of_the_processor_are_heeded() -> None:
    size = {"height": 768, "width": 768}
    found = tiled_pages({"size": size, "tile_size": 1024, "crop_to_patches": False, "max_patches": 4})
    assert found == TiledPages(base=768, tile=1024, crop=False, most=4)
    assert tiled_pages({}) == TiledPages()
