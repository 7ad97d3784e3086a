"""Draws `gallery.png` beside this file: `uv run python docs/images/gallery.py`.

It shows what the gallery of a run makes of a page, on the two pages that ship with llmperf. The demo model has random
weights and marks nothing, so the layout is written down here in the form in which DeepSeek-OCR models give it.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from llm_perf_opt.config.presets import shipped_dir
from llm_perf_opt.workload.drawing import draw_regions
from llm_perf_opt.workload.images import read_image
from llm_perf_opt.workload.markup import parse_markup

LAYOUTS = {
    "page_1.png": (
        ("title", "[[84, 76, 562, 112]]"),
        ("sub_title", "[[84, 152, 286, 178]]"),
        ("text", "[[84, 188, 860, 254]]"),
        ("sub_title", "[[84, 332, 270, 358]]"),
        ("text", "[[84, 368, 860, 434]]"),
        ("sub_title", "[[84, 512, 262, 538]]"),
        ("text", "[[84, 548, 860, 614]]"),
        ("page_number", "[[488, 942, 512, 966]]"),
    ),
    "page_2.png": (
        ("table_caption", "[[84, 76, 328, 108]]"),
        ("table", "[[86, 131, 914, 302]]"),
        ("image_caption", "[[84, 350, 676, 374]]"),
        ("image", "[[130, 394, 916, 764]]"),
        ("text", "[[84, 794, 860, 862]]"),
        ("page_number", "[[488, 942, 512, 966]]"),
    ),
}
GAP, GROUND = 24, (226, 228, 232)


def layout_text(name: str) -> str:
    """The layout of the page called `name`, marked up as a model would."""
    return "\n".join(f"<|ref|>{label}<|/ref|><|det|>{boxes}<|/det|>" for label, boxes in LAYOUTS[name])


def picture() -> Image.Image:
    """The pages with their boxes, side by side."""
    folder = shipped_dir() / "dataset" / "demo_pages"
    pages = [draw_regions(read_image(folder / name), parse_markup(layout_text(name)).regions) for name in LAYOUTS]
    sheet = Image.new("RGB", (GAP + sum(page.width + GAP for page in pages), pages[0].height + 2 * GAP), GROUND)
    x = GAP
    for page in pages:
        sheet.paste(page, (x, GAP))
        x += page.width + GAP
    return sheet


if __name__ == "__main__":
    picture().quantize(128, dither=Image.Dither.NONE).save(Path(__file__).with_name("gallery.png"), optimize=True)
