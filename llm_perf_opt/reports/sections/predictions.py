"""What the model said, on the pages that it was asked about."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path, PurePath

from pydantic import ValidationError

from llm_perf_opt.artifacts.layout import BOXES, IMAGE_INFO, PREDICTIONS, TEXT
from llm_perf_opt.opening import read_file
from llm_perf_opt.records.elsewhere import Elsewhere
from llm_perf_opt.records.predictions import ImageInfo, Prediction
from llm_perf_opt.reports.document import Block, Gallery, Items, Paragraph, Section, Shown
from llm_perf_opt.reports.facts import Measured, RunFacts
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.units import in_bytes

MOST_SHOWN = 12
WIDEST_PX, MOST_PIXELS = 480, 50_000_000
LABELS = 8


def section(facts: RunFacts) -> Section | None:
    galleries = [f"{stage}: {found.gallery}" for stage, found in facts.measured.items() if found.gallery]
    outside = [
        f"{found.stage}: {file.path}, {in_bytes(file.size_bytes)}, sha256 {file.sha256} when the stage ended"
        for found, record in facts.all(Elsewhere)
        for file in record.files
    ]
    shown = next((found for measured in facts.measured.values() if (found := list(_shown(facts, measured)))), [])
    if not shown and not galleries and not outside:
        return None
    blocks: list[Block] = []
    measured = facts.headline
    if measured is not None and measured.workload.model.weights == "random":
        blocks.append(Paragraph("The weights are random: the texts are noise, only their times mean something."))
    if shown:
        blocks.append(Gallery(tuple(shown[:MOST_SHOWN])))
    if len(shown) > MOST_SHOWN:
        blocks.append(Paragraph(f"{len(shown) - MOST_SHOWN:,} more are in {PREDICTIONS} and in the gallery."))
    if galleries:
        blocks.append(Items(tuple(f"Gallery of {gallery}" for gallery in galleries)))
    if outside:
        blocks += [Paragraph("Written outside this run, as save_dir asks:"), Items(tuple(outside))]
    return Section("Predictions", tuple(blocks))


def _shown(facts: RunFacts, measured: Measured) -> Iterator[Shown]:
    """What one stage wrote: texts, and pages of its gallery with the boxes drawn on them."""
    drawn = dict(_gallery(facts.path / measured.gallery)) if measured.gallery else {}
    order = [] if facts.setup is None else [sample.path for sample in facts.setup.inputs.samples if sample.path]
    said = {prediction.source: prediction for prediction in measured.predictions}
    for at, source in enumerate([*said, *(source for source in order if source in drawn and source not in said)]):
        folder, info = drawn.get(source, (None, None))
        prediction = said.get(source)
        text = None if folder is None else _text(folder)
        yield Shown(
            title=PurePath(source).name,
            picture=_picture(folder / BOXES) if folder is not None and at < MOST_SHOWN else None,
            caption=_caption(prediction, info),
            text=text if prediction is None else prediction.text,
        )


def _gallery(page: Path) -> Iterator[tuple[str, tuple[Path, ImageInfo]]]:
    for file in sorted(page.parent.glob(f"*/{IMAGE_INFO}")):
        try:
            info = ImageInfo.read(file)
        except (OSError, ValidationError):
            continue  # the gallery is not a record that a report needs
        yield info.source, (file.parent, info)


def _text(folder: Path) -> str | None:
    try:
        return read_file(folder / TEXT).decode(errors="replace")
    except OSError:
        return None


def _caption(prediction: Prediction | None, info: ImageInfo | None) -> str:
    if prediction is not None and prediction.error is not None:
        return f"failed: {prediction.error}"
    words = []
    if prediction is not None and prediction.new_tokens is not None:
        words.append(f"{prediction.prompt_tokens or 0:,} prompt tokens, {prediction.new_tokens:,} new tokens")
    if info is not None:
        labels = list(dict.fromkeys(region.label for region in info.regions))
        named = f": {', '.join(labels[:LABELS])}" if labels else ""
        words.append(f"{len(info.regions):,} regions{named}")
    return "; ".join(words)


def _picture(file: Path) -> bytes | None:
    """A page as a small JPEG; None where there is none that can be read."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            if image.width * image.height > MOST_PIXELS:
                return None
            image.draft("RGB", (WIDEST_PX, WIDEST_PX))
            small = image.convert("RGB")
            small.thumbnail((WIDEST_PX, 2 * WIDEST_PX))
            written = io.BytesIO()
            small.save(written, "JPEG", quality=70, optimize=True)
            return written.getvalue()
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


SECTION = ReportSection(55, section)
