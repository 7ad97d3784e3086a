"""The gallery of a run: for every image what the model marked on it, and one page that shows them all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from llm_perf_opt.artifacts.files import write_text, writing
from llm_perf_opt.artifacts.layout import BOXES, CROPS_DIR, GALLERY, IMAGE_INFO, TEXT
from llm_perf_opt.records.inputs import Sample
from llm_perf_opt.records.predictions import DrawnRegion, ImageInfo, Prediction
from llm_perf_opt.workload.drawing import crops, draw_regions, pixel_boxes, save_jpeg, undrawn
from llm_perf_opt.workload.events import EventWriter
from llm_perf_opt.workload.gallery import Entry, gallery_page
from llm_perf_opt.workload.images import read_image
from llm_perf_opt.workload.inputs import BadSampleError
from llm_perf_opt.workload.markup import IMAGE_LABEL, Markup, parse_markup

MAX_CROPS = 100
"""Most crops of one image; what a model writes must not fill a disk."""


@dataclass(frozen=True)
class Shown:
    """A sample and what the model said of it."""

    sample: Sample
    prediction: Prediction
    marked_text: str | None
    """The text with its layout markup; None where the sample failed."""


def write_gallery(
    directory: Path,
    title: str,
    shown: Sequence[Shown],
    events: EventWriter,
    *,
    max_images: int | None,
    thumbnail_width: int,
    note: str | None = None,
) -> None:
    """Write `predictions.md` and a folder for every image into `directory`.

    Args:
        max_images: most images to draw; None is all.
        thumbnail_width: pixels at which the page shows an image, unless it is narrower.
        note: what a reader should know first.
    """
    taken = _within(shown, max_images)
    entries = []
    for done, item in enumerate(taken):
        events.phase("gallery", done, len(taken))
        entries.append(_entry(directory, item))
    left_out = len(shown) - len(taken)
    page = gallery_page(title, entries, thumbnail_width=thumbnail_width, left_out=left_out, note=note)
    write_text(directory / GALLERY, page)


def folder_name(path: str) -> str:
    """Name of the folder of the image at the absolute `path`: a hash, so that no name can lead elsewhere."""
    return hashlib.md5(os.fsencode(path), usedforsecurity=False).hexdigest()


def _within(shown: Sequence[Shown], max_images: int | None) -> list[Shown]:
    """The samples that are shown: every text, every failure, and the first `max_images` images."""
    taken, images = [], 0
    for item in shown:
        if item.sample.kind == "image" and item.marked_text is not None:
            images += 1
            if max_images is not None and images > max_images:
                continue
        taken.append(item)
    return taken


def _entry(directory: Path, item: Shown) -> Entry:
    if item.sample.kind != "image" or item.sample.path is None or item.marked_text is None:
        return Entry(item.prediction)
    try:
        image = read_image(Path(item.sample.path))
    except BadSampleError as error:  # it could be read before: changed or removed since
        return Entry(item.prediction, problem=str(error))
    folder = folder_name(item.sample.path)
    return Entry(item.prediction, folder, draw_sample(directory / folder, item.sample.path, image, item.marked_text))


def draw_sample(folder: Path, source: str, image: Image.Image, text: str) -> ImageInfo:
    """Write `result_with_boxes.jpg`, `result.mmd`, `info.json` and `images/` of one image into `folder`."""
    with writing(folder):
        (folder / CROPS_DIR).mkdir(parents=True, exist_ok=True)
    markup = parse_markup(text)
    cut = _save_crops(folder, image, markup)
    save_jpeg(draw_regions(image, markup.regions), folder / BOXES)
    write_text(folder / TEXT, markup.plain(cut) + "\n")
    problems = [*markup.problems, *undrawn(markup.regions)]
    wanted = sum(len(region.boxes) for region in markup.regions if region.label == IMAGE_LABEL)
    if wanted > MAX_CROPS:
        problems.append(f"{wanted} boxes are labelled {IMAGE_LABEL}; the first {MAX_CROPS} were cut out")
    info = ImageInfo(
        source=source,
        width_px=image.width,
        height_px=image.height,
        regions=tuple(
            DrawnRegion(label=region.label, boxes=region.boxes, boxes_px=pixel_boxes(region, image), crops=files)
            for region, files in zip(markup.regions, cut, strict=True)
        ),
        problems=tuple(problems),
    )
    write_text(folder / IMAGE_INFO, info.model_dump_json(indent=2) + "\n")
    return info


def _save_crops(folder: Path, image: Image.Image, markup: Markup) -> list[tuple[str, ...]]:
    """For every region the files its crops were saved to, relative to `folder`."""
    files: list[tuple[str, ...]] = []
    number = 0
    for region in markup.regions:
        names = []
        for crop in crops(image, region) if region.label == IMAGE_LABEL else ():
            if number == MAX_CROPS:
                break
            names.append(f"{CROPS_DIR}/{number}.jpg")
            save_jpeg(crop, folder / names[-1])
            number += 1
        files.append(tuple(names))
    return files
