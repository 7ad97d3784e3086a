"""Statistics of a handful of timed repeats."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from llm_perf_opt.records.metrics import Metric

CONFIDENCE = 0.95


def summarize(unit: str, samples: Sequence[float], note: str | None = None, batches: Sequence[int] = ()) -> Metric:
    """Median, mean, spread, 95th percentile and confidence interval of `samples`; null with a reason when empty.

    Args:
        batches: the batch of each sample; empty for a figure of the whole run.
    """
    if not samples:
        return unmeasured(unit, "nothing was measured")
    return Metric(
        unit=unit,
        n=len(samples),
        median=statistics.median(samples),
        mean=statistics.fmean(samples),
        std=statistics.stdev(samples) if len(samples) > 1 else None,
        p95=percentile(samples, 0.95),
        ci95=median_interval(samples),
        samples=tuple(samples),
        batches=tuple(batches),
        note=note,
    )


def unmeasured(unit: str, reason: str) -> Metric:
    """A figure that is not known, and why."""
    return Metric(unit=unit, n=0, reason=reason)


def percentile(samples: Sequence[float], fraction: float) -> float:
    """Linear interpolation between order statistics (type 7 of Hyndman and Fan 1996, NumPy's default)."""
    ordered = sorted(samples)
    position = fraction * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def median_interval(samples: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Distribution-free confidence interval of the median: the narrowest symmetric pair of order statistics.

    The median lies between the k-th smallest and the k-th largest of n with probability 1 − 2·P(B < k), B binomial
    (n, ½) (Conover, Practical Nonparametric Statistics, 3.2). Below six samples even the extremes do not reach 95 %:
    None.
    """
    count = len(samples)
    orderings = 2**count
    binomial, below, rank = 1, 0, 0  # C(n, k); orderings with at most k samples under the median; k of the pair
    for k in range(count // 2):
        below += binomial
        if 1 - 2 * below / orderings < confidence:
            break
        rank = k + 1
        binomial = binomial * (count - k) // (k + 1)
    if rank == 0:
        return None
    ordered = sorted(samples)
    return ordered[rank - 1], ordered[count - rank]
