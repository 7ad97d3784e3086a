"""Repeats of one launch that did not stay as they were, and repeats that are none like the others."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from llm_perf_opt.analysis.shift import hodges_lehmann_shift, shows_shift
from llm_perf_opt.analysis.verdict import as_percent

DRIFT_CONFIDENCE = 0.99
DRIFT_PERCENT = 2.0
"""Less is not worth saying."""
OUTLIER_DEVIATIONS, OUTLIER_PERCENT = 5.0, 10.0
"""Of a repeat from the median of its batch: so many robust standard deviations, and so much at least."""
FEWEST = 5
"""Repeats, below which none is called an outlier."""


def drift_of(batches: Sequence[Sequence[float]]) -> float | None:
    """By how many percent the second half of the repeats of each batch takes longer than the first.

    None where that is less than matters, not shown (by the exact rank interval, batch by batch), or a time is 0.

    Args:
        batches: the times of the repeats of each batch, in the order they were made.
    """
    if any(time <= 0 for times in batches for time in times):
        return None
    logs = [[math.log(time) for time in times] for times in batches if len(times) > 1]
    halves = [(times[: len(times) // 2], times[-(len(times) // 2) :]) for times in logs]
    if not halves:
        return None
    if not shows_shift(halves, DRIFT_CONFIDENCE):
        return None
    percent = as_percent(hodges_lehmann_shift(halves, DRIFT_CONFIDENCE).estimate)
    return percent if abs(percent) >= DRIFT_PERCENT else None


def outliers_of(batches: Sequence[Sequence[float]]) -> list[float]:
    """By how many percent each repeat that is an outlier takes longer than the median of its batch."""
    if any(time <= 0 for times in batches for time in times):
        return []
    ratios = [
        math.log(time / middle)
        for times in batches
        if len(times) > 1 and (middle := statistics.median(times))
        for time in times
    ]
    if len(ratios) < FEWEST:
        return []
    # 1.4826 makes the median absolute deviation that of a normal distribution.
    spread = 1.4826 * statistics.median(map(abs, ratios))
    least = max(OUTLIER_DEVIATIONS * spread, math.log1p(OUTLIER_PERCENT / 100))
    return [as_percent(ratio) for ratio in ratios if abs(ratio) > least]
