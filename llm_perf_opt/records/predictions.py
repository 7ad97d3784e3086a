"""What a model said: `predictions.jsonl`, and beside each drawn image `info.json`."""

from __future__ import annotations

from typing import Literal

from llm_perf_opt.records.base import Record


class PredictionTimes(Record):
    """The timed repeat that made the text: the last one of its batch."""

    ttft_ms: float
    prefill_ms: float
    decode_ms: float | None
    e2e_ms: float
    batch_rows: int
    """Samples that shared these times."""


class Prediction(Record):
    """One line of `predictions.jsonl`; every value but `source` and `error` is null where the sample failed."""

    source: str
    """Absolute path, or `dataset.prompt`."""
    text: str | None = None
    """Cleaned: without end-of-sequence and padding tokens, and without layout markup where that was asked for."""
    text_raw: str | None = None
    """With every special token."""
    prompt_tokens: int | None = None
    """Image tokens included."""
    new_tokens: int | None = None
    """Up to and with the end-of-sequence token."""
    metrics: PredictionTimes | None = None
    error: str | None = None


class DrawnRegion(Record):
    """One thing that the model marked on the page."""

    label: str
    boxes: tuple[tuple[float, float, float, float], ...]
    """x1, y1, x2, y2 as the model gave them, 0 to 999 of width and height."""
    boxes_px: tuple[tuple[int, int, int, int], ...]
    """The same in pixels of the upright image."""
    crops: tuple[str, ...] = ()
    """Files of the boxes cut out, relative to `info.json`; for label `image` only."""


class ImageInfo(Record):
    """`info.json`: what was drawn on one image."""

    schema_version: Literal[1] = 1
    source: str
    width_px: int
    """Of the image as it was read, upright."""
    height_px: int
    regions: tuple[DrawnRegion, ...]
    problems: tuple[str, ...]
    """Markup that could not be used, and why."""
