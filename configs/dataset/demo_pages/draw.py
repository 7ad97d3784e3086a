"""Draws the demo pages beside this file: `uv run python configs/dataset/demo_pages/draw.py`.

They are committed so that every machine runs on the same bytes, whatever its version of Pillow.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 816, 1056  # US letter at 96 dots per inch
MARGIN = 72
INK, RULE = (24, 24, 28), (150, 150, 158)

NOTE = """A profiler answers one question: where did the time go? The answer is useful when it
names a place one can change. Prefill reads the whole prompt at once and is bound by
arithmetic; decode reads every weight for each new token and is bound by memory."""

ROWS = (
    ("phase", "bound by", "figure to quote"),
    ("prefill", "compute", "MFU"),
    ("decode", "memory", "MBU"),
    ("vision", "compute", "share of prefill"),
)


def page() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    return image, ImageDraw.Draw(image)


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def note_page() -> Image.Image:
    image, draw = page()
    draw.text((MARGIN, 80), "Where does the time go?", fill=INK, font=font(34))
    draw.line((MARGIN, 130, WIDTH - MARGIN, 130), fill=RULE, width=2)
    y = 160
    for title, text in (("1  The question", NOTE), ("2  Two phases", NOTE), ("3  What to do", NOTE)):
        draw.text((MARGIN, y), title, fill=INK, font=font(22))
        draw.multiline_text((MARGIN, y + 40), text, fill=INK, font=font(16), spacing=8)
        y += 190
    draw.text((WIDTH // 2 - 4, HEIGHT - 60), "1", fill=RULE, font=font(16))
    return image


def table_page() -> Image.Image:
    image, draw = page()
    draw.text((MARGIN, 80), "Table 1: Bounds", fill=INK, font=font(26))
    width, height = (WIDTH - 2 * MARGIN) // 3, 44
    for row, cells in enumerate(ROWS):
        for column, text in enumerate(cells):
            x, y = MARGIN + column * width, 140 + row * height
            draw.rectangle((x, y, x + width, y + height), outline=RULE, width=2)
            draw.text((x + 12, y + 11), text, fill=INK, font=font(18))
    draw.text((MARGIN, 370), "Figure 1: Tokens per second over the length of the context", fill=INK, font=font(18))
    left, bottom = MARGIN + 40, 800
    draw.line((left, 420, left, bottom), fill=INK, width=2)
    draw.line((left, bottom, WIDTH - MARGIN, bottom), fill=INK, width=2)
    for index in range(8):
        x, top = left + 30 + index * 70, 450 + index * 36
        draw.rectangle((x, top, x + 40, bottom - 2), fill=(70, 110, 180))
    draw.multiline_text((MARGIN, 840), NOTE, fill=INK, font=font(16), spacing=8)
    draw.text((WIDTH // 2 - 4, HEIGHT - 60), "2", fill=RULE, font=font(16))
    return image


if __name__ == "__main__":
    for name, image in (("page_1.png", note_page()), ("page_2.png", table_page())):
        image.save(Path(__file__).with_name(name), optimize=True)
