"""Grounding markup in the text of DeepSeek-OCR models: which kind of thing is where on the page.

`<|ref|>label<|/ref|><|det|>[[x1, y1, x2, y2], …]<|/det|>`, coordinates 0 to 999 of width and height. The text comes
from a model and may be anything: what does not have exactly this form is passed over and named, never guessed at, and
nothing is evaluated. One pass; the time is linear in the length of the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

FULL_SCALE = 999
"""The coordinate of the right and bottom edge."""
IMAGE_LABEL = "image"
MAX_LABEL = 64
MAX_PROBLEMS = 20

# The models write <|/ref|>; </|ref|> is seen in descriptions of them.
_TAG = re.compile(r"<\|(ref|det)\|>|<\|/(ref|det)\|>|</\|(ref|det)\|>")
_SHAPE = ("open ref", "close ref", "open det", "close det")
_NUMBER = r"\s*\d{1,4}(?:\.\d{1,6})?\s*"
_BOX = rf"\s*\[{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\]\s*"
_BOX_LIST = re.compile(rf"\s*\[{_BOX}(?:,{_BOX})*\]\s*", re.ASCII)
_NUMBERS = re.compile(r"\d+(?:\.\d+)?", re.ASCII)

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 with x1 ≤ x2 and y1 ≤ y2, 0 to 999."""


@dataclass(frozen=True)
class Region:
    """One marked thing; it may have several boxes."""

    label: str
    boxes: tuple[Box, ...]
    start: int
    """Where its markup begins in the text."""
    end: int
    """Where it ends."""


@dataclass(frozen=True)
class Markup:
    """What a text marks."""

    text: str
    regions: tuple[Region, ...]
    problems: tuple[str, ...]
    """Markup that was passed over, and why."""

    def plain(self, pictures: Sequence[Sequence[str]] | None = None) -> str:
        """The text without markup.

        Args:
            pictures: for every region, the files to show in its place.
        """
        kept, position = [], 0
        for index, region in enumerate(self.regions):
            kept.append(self.text[position : region.start])
            kept += [f"![]({file})\n" for file in (pictures[index] if pictures is not None else ())]
            position = region.end
        kept.append(self.text[position:])
        return _TAG.sub("", "".join(kept)).strip()


@dataclass(frozen=True)
class _Tag:
    kind: str
    start: int
    end: int


def parse_markup(text: str) -> Markup:
    """The regions that `text` marks, in their order."""
    tags = [_tag(match) for match in _TAG.finditer(text)]
    regions: list[Region] = []
    problems: list[str] = []
    index = 0
    while index < len(tags):
        found = _region(text, tags[index : index + 4])
        if isinstance(found, Region):
            regions.append(found)
            index += 4
        else:
            problems.append(f"at character {tags[index].start}: {found}")
            # What was wrong is said once: go on at the next thing that could begin a region.
            index += 1
            while index < len(tags) and tags[index].kind != "open ref":
                index += 1
    if len(problems) > MAX_PROBLEMS:
        problems = [*problems[:MAX_PROBLEMS], f"and {len(problems) - MAX_PROBLEMS} more"]
    return Markup(text, tuple(regions), tuple(problems))


def _tag(match: re.Match[str]) -> _Tag:
    opening, *closing = match.groups()
    kind = f"open {opening}" if opening else f"close {closing[0] or closing[1]}"
    return _Tag(kind, match.start(), match.end())


def _region(text: str, tags: Sequence[_Tag]) -> Region | str:
    """The region that these four tags make, or why they make none."""
    for place, expected in enumerate(_SHAPE):
        found = tags[place].kind if place < len(tags) else "the end of the text"
        if found != expected:
            return f"{found} where {expected} belongs"
    ref, ref_end, det, det_end = tags
    if text[ref_end.end : det.start].strip():
        return "text between the label and its boxes"
    label = text[ref.end : ref_end.start].strip()
    if not label or len(label) > MAX_LABEL:
        return f"a label of {len(label)} characters"
    boxes = parse_boxes(text[det.end : det_end.start])
    if isinstance(boxes, str):
        return boxes
    return Region(label, boxes, ref.start, det_end.end)


def parse_boxes(text: str) -> tuple[Box, ...] | str:
    """The boxes of `[[x1, y1, x2, y2], …]`, corners put in order; or why the text is no such list."""
    if not _BOX_LIST.fullmatch(text):
        return "no list of boxes of four numbers"
    numbers = [float(number) for number in _NUMBERS.findall(text)]
    if max(numbers) > FULL_SCALE:
        return f"a coordinate above {FULL_SCALE}"
    boxes = []
    for at in range(0, len(numbers), 4):
        x1, y1, x2, y2 = numbers[at : at + 4]
        boxes.append((min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)))
    return tuple(boxes)


def to_pixels(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """`box` in pixels of a `width` × `height` image, rounded outwards, at least one pixel each way and inside it."""
    x1, y1, x2, y2 = box
    left = min(int(x1 / FULL_SCALE * width), width - 1)
    top = min(int(y1 / FULL_SCALE * height), height - 1)
    right = min(max(-int(-x2 / FULL_SCALE * width // 1), left + 1), width)
    bottom = min(max(-int(-y2 / FULL_SCALE * height // 1), top + 1), height)
    return left, top, right, bottom
