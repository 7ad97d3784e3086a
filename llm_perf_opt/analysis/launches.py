"""How far a figure of one setting is known, from one number a launch."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from llm_perf_opt.analysis.statistics import CONFIDENCE, median_interval
from llm_perf_opt.analysis.student import t_quantile, variance


def launch_interval(medians: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Interval of what a launch comes out at, from the median of each; None below two, or where one is not positive.

    Exact, from order statistics, where so many launches reach the confidence (from six on, for 95 %); else Student's t
    on logarithms, which takes these to be normal.
    """
    exact = median_interval(medians, confidence)
    if exact is not None:
        return exact
    if len(medians) < 2 or min(medians) <= 0:
        return None
    logs = [math.log(value) for value in medians]
    half = t_quantile((1 + confidence) / 2, len(logs) - 1) * math.sqrt(variance(logs) / len(logs))
    mean = statistics.fmean(logs)
    return math.exp(mean - half), math.exp(mean + half)
