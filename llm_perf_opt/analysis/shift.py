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


@dataclass(frozen=True)
class Shift:
    """B less A."""

    estimate: float
    interval: tuple[float, float] | None
    """95 % confidence interval; None where there are too few repeats for one."""


def hodges_lehmann_shift(strata: Sequence[Stratum]) -> Shift:
    """The Hodges–Lehmann shift from A to B and its interval: the narrowest symmetric pair of ordered differences."""
    differences = sorted(later - earlier for a, b in strata for earlier in a for later in b)
    rank = interval_rank(tuple(sorted((len(a), len(b)) for a, b in strata)))
    interval = (differences[rank - 1], differences[-rank]) if rank else None
    return Shift(statistics.median(differences), interval)


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
    mean = sum(m * n for m, n in sizes) / 2
    deviation = math.sqrt(sum(m * n * (m + n + 1) for m, n in sizes) / 12)
    quantile = statistics.NormalDist().inv_cdf((1 + confidence) / 2)
    return math.floor(mean + 0.5 - quantile * deviation)


def repeats_needed(batches: int) -> int:
    """The fewest repeats in each run with which so many batches give an interval."""
    repeats = 1
    while interval_rank(((repeats, repeats),) * batches) == 0:
        repeats += 1
    return repeats
