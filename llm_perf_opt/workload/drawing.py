"""Drawing what a model marked onto its page, and cutting pictures out of it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from llm_perf_opt.artifacts.files import writing
from llm_perf_opt.workload.fonts import lettering
from llm_perf_opt.workload.markup import Region, to_pixels

# Told apart on white by most readers (Okabe and Ito's colours, yellow left out: https://jfly.uni-koeln.de/color/).
COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (230, 159, 0))
# A caption has the colour of what it belongs to.
USUAL_LABELS = {
    "text": 0,
    "title": 1,
    "image": 2,
    "image_caption": 2,
    "table": 3,
    "table_caption": 3,
    "sub_title": 4,
    "equation": 5,
}
LIGHT = 380
"""Colours whose channels add up to more are written on in black."""
FILL_OPACITY = 28
JPEG_SIDE = 65_000
"""A JPEG has at most 65,535 pixels each way (ITU-T T.81, B.2.2)."""
JPEG_QUALITY = 90

PixelBox = tuple[int, int, int, int]


def colour_of(label: str) -> tuple[int, int, int]:
    """The same colour for a label on every page."""
    if label in USUAL_LABELS:
        return COLOURS[USUAL_LABELS[label]]
    return COLOURS[zlib.crc32(label.encode()) % len(COLOURS)]


def pixel_boxes(region: Region, image: Image.Image) -> tuple[PixelBox, ...]:
    return tuple(to_pixels(box, image.width, image.height) for box in region.boxes)


def draw_regions(image: Image.Image, regions: Sequence[Region]) -> Image.Image:
    """A copy of `image` with every box of `regions` framed, tinted and named."""
    drawn = image.copy()
    draw = ImageDraw.Draw(drawn, "RGBA")
    side = min(image.size)
    width = max(2, side // 400)
    size_px = max(11, side // 60)
    boxes = [(region.label, box) for region in regions for box in pixel_boxes(region, image)]
    for label, (left, top, right, bottom) in boxes:
        colour = colour_of(label)
        draw.rectangle((left, top, right - 1, bottom - 1), fill=(*colour, FILL_OPACITY), outline=colour, width=width)
    for label, box in boxes:  # names last, so that no box covers them
        _write_name(draw, label, box, image.size, size_px)
    return drawn


def undrawn(regions: Sequence[Region]) -> tuple[str, ...]:
    """One line for each label with characters that no font of this machine has."""
    told = []
    for label in dict.fromkeys(region.label for region in regions):
        letters = lettering(_one_line(label), 11)
        if letters.missing:
            told.append(
                f"the label {label} is drawn as {letters.text}: no font here has {letters.missing}; "
                "install one, for example fonts-noto-cjk"
            )
    return tuple(told)


def _one_line(label: str) -> str:
    return " ".join(label.split())


def _write_name(
    draw: ImageDraw.ImageDraw,
    label: str,
    box: PixelBox,
    size: tuple[int, int],
    letters_px: int,
) -> None:
    """The label on its colour, above the box where there is room, inside the image in any case."""
    letters = lettering(_one_line(label), letters_px)
    text, font = letters.text, letters.font
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    pad = max(2, int(bottom - top) // 5)
    wide, high = right - left + 2 * pad, bottom - top + 2 * pad
    x = max(0.0, min(box[0], size[0] - wide))
    y = max(0.0, box[1] - high)
    colour = colour_of(label)
    ink = "black" if sum(colour) > LIGHT else "white"
    draw.rectangle((x, y, x + wide, y + high), fill=colour)
    draw.text((x + pad - left, y + pad - top), text, fill=ink, font=font)


def crops(image: Image.Image, region: Region) -> Iterator[Image.Image]:
    """The boxes of `region`, cut out."""
    for box in pixel_boxes(region, image):
        yield image.crop(box)


def save_jpeg(image: Image.Image, path: Path) -> None:
    """Write `image` to `path`, scaled down where it is too large for a JPEG; a reader never sees half a file."""
    if max(image.size) > JPEG_SIDE:
        image = image.copy()
        image.thumbnail((JPEG_SIDE, JPEG_SIDE))
    unfinished = path.with_name(f".{path.name}.part")
    with writing(path):
        image.save(unfinished, "JPEG", quality=JPEG_QUALITY)
        unfinished.replace(path)
