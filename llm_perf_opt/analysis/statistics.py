"""Statistics of a handful of timed repeats."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TypeVar

from llm_perf_opt.analysis.student import t_quantile, variance
from llm_perf_opt.records.metrics import Metric

CONFIDENCE = 0.95


def summarize(
    unit: str,
    samples: Sequence[float],
    note: str | None = None,
    batches: Sequence[int] = (),
    launches: Sequence[int] = (),
) -> Metric:
    """Median, mean, spreads, 95th percentile and confidence interval of `samples`; null with a reason when empty.

    Args:
        batches: the batch of each sample; empty for a figure of a whole launch.
        launches: the launch of each sample; empty where there was one.
    """
    if not samples:
        return unmeasured(unit, "nothing was measured")
    if not all(map(math.isfinite, samples)):
        return unmeasured(unit, "a value is no number, which is no measured amount")
    by_launch = grouped(samples, launches or [0] * len(samples))
    medians = [statistics.median(values) for values in by_launch.values()]
    several = len(medians) > 1
    interval = launch_interval(medians) if several else median_interval(samples)
    return Metric(
        unit=unit,
        n=len(samples),
        median=statistics.median(samples),
        mean=statistics.fmean(samples),
        std=_deviation(samples) if len(samples) > 1 else None,
        p95=percentile(samples, 0.95),
        ci95=interval,
        ci95_over=None if interval is None else "medians of launches" if several else "repeats within one launch",
        std_within_launches=_within(samples, launches, batches) if batches else None,
        std_between_launches=_deviation(medians) if several else None,
        launch_medians=tuple(medians),
        samples=tuple(samples),
        batches=tuple(batches),
        launches=tuple(launches),
        note=note,
    )


K = TypeVar("K")


def grouped(samples: Sequence[float], keys: Sequence[K]) -> dict[K, list[float]]:
    """Samples by their keys, in the order in which the keys come."""
    if len(set(keys)) == 1:
        return {keys[0]: list(samples)}
    found: dict[K, list[float]] = {}
    for key, sample in zip(keys, samples, strict=True):
        found.setdefault(key, []).append(sample)
    return found


def _deviation(samples: Sequence[float]) -> float:
    """Of a sample; in parts of its largest value, whose square a float might not hold."""
    scale = max(map(abs, samples)) or 1.0
    return scale * math.sqrt(variance([sample / scale for sample in samples]))


def _within(samples: Sequence[float], launches: Sequence[int], batches: Sequence[int]) -> float | None:
    """Standard deviation of repeats of one batch in one launch, pooled by their degrees of freedom."""
    cells = grouped(samples, list(zip(launches or [0] * len(samples), batches, strict=True))).values()
    freedom = len(samples) - len(cells)
    if freedom < 1:
        return None
    scale = max(map(abs, samples)) or 1.0
    squares = ((len(cell) - 1) * (_deviation(cell) / scale) ** 2 for cell in cells if len(cell) > 1)
    return scale * math.sqrt(sum(squares) / freedom)


def launch_interval(medians: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Confidence interval of what a launch gives, from the medians of several.

    From order statistics where they reach `confidence`, else by Student's t on logarithms, which takes these to be
    normal; None where a median is 0 or negative.
    """
    exact = median_interval(medians, confidence)
    if exact is not None or min(medians) <= 0:
        return exact
    logs = [math.log(value) for value in medians]
    half = t_quantile((1 + confidence) / 2, len(logs) - 1) * math.sqrt(variance(logs) / len(logs))
    centre = statistics.fmean(logs)
    low, high = (math.exp(min(centre + end, LARGEST_LOG)) for end in (-half, half))
    return (low, high)


LARGEST_LOG = 700.0
"""Of a number that a float holds."""


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
