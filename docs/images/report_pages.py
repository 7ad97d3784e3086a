"""Draws the pictures of "How to read a report" beside this file from the page of a run and other pages, in Chromium:

uv run python docs/images/report_pages.py RUN [comparison.html] [kernels.html] [static_sweep.html]
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.browser import CHROMIUM, Browser, browser

WIDTH, PHONE, COLOURS, WIDEST = 1100, 400, 64, 900
PARTS = {
    "report-answer": "['#answer', '#where-the-time-goes figure']",
    "report-drill-down": "[...document.querySelectorAll('#drill-down-and-time-line figure')].slice(0, 2)",
    "report-steps": "['#every-decode-step', '#roofline']",
    "report-operators": "['#operators-and-kernels']",
}
OTHERS = {
    "comparison": "['figure[data-kind=changes]']",
    "kernels": "['figure[data-kind=roofline]']",
    "static_sweep": "['#curves', '#roofline']",
}
"""Page → what of it is drawn."""
CHOOSE = "document.querySelector('.listed tr:nth-child(2) button')?.click()"
BOX = """(() => {
  const nodes = %s.map((node) => (typeof node === "string" ? document.querySelector(node) : node));
  const boxes = nodes.map((node) => node.getBoundingClientRect());
  const top = Math.min(...boxes.map((box) => box.top)), bottom = Math.max(...boxes.map((box) => box.bottom));
  return [top + scrollY, bottom + scrollY];
})()"""


def main() -> None:
    page = Path(sys.argv[1]).resolve() / "report.html"
    folder = Path(__file__).parent
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        browser(CHROMIUM, Path(profile)) as tab,
    ):
        tab.resize(WIDTH)
        tab.open(page)
        whole = picture_of(tab)
        for name, parts in PARTS.items():
            top, bottom = tab.eval(BOX % parts)
            save(whole.crop((0, int(top) - 8, whole.width, int(bottom) + 8)), folder / f"{name}.png")
        for other in map(Path, sys.argv[2:]):
            tab.open(other.resolve())
            tab.eval(CHOOSE)
            top, bottom = tab.eval(BOX % OTHERS[other.stem])
            part = picture_of(tab)
            name = f"page-{other.stem.replace('_', '-')}.png"
            save(part.crop((0, int(top) - 8, part.width, int(bottom) + 8)), folder / name)
        tab.resize(PHONE, 800)
        tab.open(page)
        save(picture_of(tab).crop((0, 0, PHONE, 900)), folder / "report-phone.png")


def picture_of(tab: Browser) -> Image.Image:
    return Image.open(io.BytesIO(tab.picture())).convert("RGB")


def save(picture: Image.Image, file: Path) -> None:
    """Small: few colours, and no wider than a page of the docs."""
    picture.thumbnail((WIDEST, 10 * WIDEST))
    picture.quantize(COLOURS).save(file, optimize=True)
    print(f"{file.name}: {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
