"""How far one set of timed repeats lies from another, batch by batch, with no distribution of times assumed.

Batches differ in size, so an observation of A is held against those of B of the same batch only. The estimate is the
median of all such differences (Hodges and Lehmann 1963, Estimates of location based on rank tests, Ann. Math. Statist.
34). Its interval inverts the Mann–Whitney test (Hollander, Wolfe and Chicken 2014, Nonparametric Statistical Methods,
4.2-4.3), its statistic summed over the batches as van Elteren stratified it (1960, On the combination of independent
two sample tests of Wilcoxon, Bull. Inst. Int. Stat. 37). The sum is unweighted: van Elteren's weights depend on the
numbers of repeats alone, which are those of the run in every batch.
"""

from __future__ import annotations

import functools
import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from llm_perf_opt.analysis.statistics import CONFIDENCE

Stratum = tuple[Sequence[float], Sequence[float]]
"""The observations of A and of B in one batch."""
Sizes = tuple[tuple[int, int], ...]
"""How many there are of each, batch by batch."""

EXACT_STEPS = 5_000_000
"""Additions of whole numbers that the exact distribution may take, about a second; above, its normal limit is used,
which then agrees with it to a rank or two."""

MANY_PAIRS = 20_000
"""From here on NumPy orders them, whose import costs more than it saves below."""


@dataclass(frozen=True)
class Shift:
    """B less A."""

    estimate: float
    interval: tuple[float, float] | None
    """Confidence interval; None where there are too few repeats for one."""


def hodges_lehmann_shift(strata: Sequence[Stratum], confidence: float = CONFIDENCE) -> Shift:
    """The Hodges–Lehmann shift from A to B and its interval: the narrowest symmetric pair of ordered differences."""
    pairs = sum(len(a) * len(b) for a, b in strata)
    rank = interval_rank(tuple(sorted((len(a), len(b)) for a, b in strata)), confidence)
    places = [(pairs - 1) // 2, pairs // 2, *((rank - 1, pairs - rank) if rank else ())]
    lower, upper, *bounds = _ordered_differences(strata, places)
    return Shift((lower + upper) / 2, (bounds[0], bounds[1]) if bounds else None)


def shows_shift(strata: Sequence[Stratum], confidence: float = CONFIDENCE) -> bool:
    """Whether the interval of `hodges_lehmann_shift` leaves out 0; counted, since it takes no differences to tell."""
    rank = interval_rank(tuple(sorted((len(a), len(b)) for a, b in strata)), confidence)
    pairs = below = above = 0
    for a, b in strata:
        ordered = sorted(b)
        pairs += len(a) * len(b)
        below += sum(bisect_left(ordered, value) for value in a)
        above += sum(len(b) - bisect_right(ordered, value) for value in a)
    return pairs - above < rank or pairs - below < rank


def _ordered_differences(strata: Sequence[Stratum], places: Sequence[int]) -> list[float]:
    """Those at `places` of all differences, B less A of the same batch, in rising order."""
    if sum(len(a) * len(b) for a, b in strata) < MANY_PAIRS:
        found = sorted(later - earlier for a, b in strata for earlier in a for later in b)
        return [found[place] for place in places]
    import numpy as np

    every = np.concatenate([np.subtract.outer(np.asarray(b), np.asarray(a)).ravel() for a, b in strata])
    every.partition(sorted(set(places)))
    return [float(every[place]) for place in places]


@functools.lru_cache(maxsize=64)
def interval_rank(sizes: Sizes, confidence: float = CONFIDENCE) -> int:
    """The largest k for which the k-th smallest and the k-th largest difference hold the shift with `confidence`.

    W, the number of differences below the true shift, has a known distribution whatever that of the times: the pair
    misses the shift when fewer than k lie on one of its sides. 0 where even the extremes do not reach `confidence`.
    """
    pairs = sum(m * n for m, n in sizes)
    if sum(min(size) for size in sizes) * pairs > EXACT_STEPS:
        return _normal_rank(sizes, confidence)
    arrangements = math.prod(math.comb(m + n, m) for m, n in sizes)
    below, rank = 0, 0
    for k, count in enumerate(null_counts(sizes, pairs // 2)):
        below += count
        if 1 - 2 * below / arrangements < confidence:
            break
        rank = k + 1
    return rank


def rank_confidence(sizes: Sizes, rank: int) -> float:
    """With what probability the pair of rank `rank` holds the shift: what is attained, not what was asked for."""
    return 1 - 2 * lower_tail(sizes, rank - 1)


@functools.lru_cache(maxsize=4096)
def lower_tail(sizes: Sizes, most: int) -> float:
    """P(W ≤ `most`) where there is no shift; from the normal limit, corrected for continuity, where W has too many."""
    pairs = sum(m * n for m, n in sizes)
    if most < 0:
        return 0.0
    if sum(min(size) for size in sizes) * pairs > EXACT_STEPS:
        return statistics.NormalDist(*_normal_limit(sizes)).cdf(most + 0.5)
    if most >= pairs:
        return 1.0
    arrangements = math.prod(math.comb(m + n, m) for m, n in sizes)
    return sum(null_counts(sizes, most)) / arrangements


def null_counts(sizes: Sizes, limit: int) -> list[int]:
    """In how many of the equally likely arrangements W is 0, 1, … `limit`.

    The counts of one batch are the coefficients of the Gaussian binomial (m + n over m), the product over i = 1 … m of
    (1 − x^(n+i)) / (1 − x^i); those of the sum over batches, of the product of theirs, which is their convolution.
    """
    counts = [1] + [0] * limit
    for m, n in sizes:
        for i in range(1, min(m, n) + 1):
            top = max(m, n) + i
            for power in range(limit, top - 1, -1):
                counts[power] -= counts[power - top]
            for power in range(i, limit + 1):
                counts[power] += counts[power - i]
    return counts


def _normal_rank(sizes: Sizes, confidence: float) -> int:
    """From the normal limit of W, corrected for continuity."""
    mean, deviation = _normal_limit(sizes)
    quantile = statistics.NormalDist().inv_cdf((1 + confidence) / 2)
    return math.floor(mean + 0.5 - quantile * deviation)


def _normal_limit(sizes: Sizes) -> tuple[float, float]:
    """Mean and standard deviation of W where there is no shift."""
    mean = sum(m * n for m, n in sizes) / 2
    return mean, math.sqrt(sum(m * n * (m + n + 1) for m, n in sizes) / 12)


def repeats_needed(batches: int) -> int:
    """The fewest repeats in each run with which so many batches give an interval."""
    repeats = 1
    while interval_rank(((repeats, repeats),) * batches) == 0:
        repeats += 1
    return repeats
