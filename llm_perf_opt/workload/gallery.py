"""The gallery's page: `predictions.md`, pictures and texts of a run one under the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from llm_perf_opt.artifacts.layout import BOXES, IMAGE_INFO, TEXT
from llm_perf_opt.escaping import as_block, as_line
from llm_perf_opt.records.predictions import ImageInfo, Prediction


@dataclass(frozen=True)
class Entry:
    """One sample in the gallery."""

    prediction: Prediction
    folder: str | None = None
    """Of its pictures, relative to the page; None where it has none."""
    info: ImageInfo | None = None
    problem: str | None = None
    """Why it has no pictures though it should."""


def gallery_page(
    title: str, entries: Sequence[Entry], *, thumbnail_width: int, left_out: int = 0, note: str | None = None
) -> str:
    """The page; `left_out` samples were not taken into it.

    The file names in links are ours (hashes); everything else is escaped.
    """
    parts = [f"# {as_line(title)}"]
    if note is not None:
        parts.append(as_line(note))
    for number, entry in enumerate(entries, start=1):
        parts += _entry(number, entry, thumbnail_width)
    if left_out:
        parts.append(f"{left_out} more samples are not shown: the limit is visualization.max_images.")
    return "\n\n".join(parts) + "\n"


def _entry(number: int, entry: Entry, thumbnail_width: int) -> list[str]:
    prediction = entry.prediction
    parts = [f"## {number}. {as_line(prediction.source.rsplit('/', 1)[-1])}", as_line(prediction.source)]
    if prediction.error is not None:
        return [*parts, f"Failed: {as_line(prediction.error)}"]
    if entry.problem is not None:
        parts.append(f"No picture: {as_line(entry.problem)}")
    if entry.folder is not None and entry.info is not None:
        info = entry.info
        width = min(thumbnail_width, info.width_px)
        parts.append(f'<img src="{entry.folder}/{BOXES}" width="{width}" alt="sample {number} with boxes">')
        links = f"[{TEXT}]({entry.folder}/{TEXT}), [{IMAGE_INFO}]({entry.folder}/{IMAGE_INFO})"
        parts.append(f"{_regions(info)} {links}.")
    parts.append(f"{prediction.prompt_tokens} prompt tokens, {prediction.new_tokens} new tokens:")
    parts.append(as_block(prediction.text or ""))
    return parts


def _regions(info: ImageInfo) -> str:
    counts = Counter(region.label for region in info.regions)
    named = ", ".join(
        f"{as_line(label)} {count}" for label, count in sorted(counts.items(), key=lambda at: (-at[1], at[0]))
    )
    found = f"Regions: {named}." if counts else "The text marks no regions."
    return f"{found} Markup passed over: {len(info.problems)}." if info.problems else found
