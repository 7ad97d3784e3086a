"""Statistics against NumPy and against counting every case."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.statistics import median_interval, percentile, summarize, unmeasured

SAMPLES = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=60)


@given(SAMPLES)
def test_summary_equals_numpy(samples: list[float]) -> None:
    metric = summarize("ms", samples)
    assert metric.n == len(samples)
    assert metric.samples == tuple(samples)
    assert metric.median == pytest.approx(float(np.median(samples)))
    assert metric.mean == pytest.approx(float(np.mean(samples)))
    assert metric.p95 == pytest.approx(float(np.percentile(samples, 95)))
    if len(samples) > 1:
        assert metric.std == pytest.approx(float(np.std(samples, ddof=1)), abs=1e-6)
    else:
        assert metric.std is None


@given(SAMPLES, st.floats(0, 1))
def test_percentile_equals_numpy(samples: list[float], fraction: float) -> None:
    assert percentile(samples, fraction) == pytest.approx(float(np.quantile(samples, fraction)))


def test_order_of_samples_is_kept_and_does_not_matter() -> None:
    metric = summarize("ms", [3.0, 1.0, 2.0])
    assert metric.samples == (3.0, 1.0, 2.0)
    assert metric.median == 2.0
    assert metric.p95 == pytest.approx(2.9)


def rank_by_counting(n: int) -> int | None:
    """The largest k for which the k-th smallest and the k-th largest of n hold the median in 95 % of all 2^n ways in
    which samples can fall on its two sides."""
    best = None
    for k in range(1, n // 2 + 1):
        holds = sum(
            1 for sides in itertools.product((0, 1), repeat=n) if k <= sum(sides) <= n - k
        )  # at least k below it and k above
        if Fraction(holds, 2**n) >= Fraction(95, 100):
            best = k
    return best


@pytest.mark.parametrize("n", range(1, 15))
def test_interval_of_the_median_by_counting_every_case(n: int) -> None:
    samples = [float(value) for value in range(1, n + 1)]
    rank = rank_by_counting(n)
    expected = None if rank is None else (float(rank), float(n + 1 - rank))
    assert median_interval(samples) == expected


# Conover, Practical Nonparametric Statistics, and any table of order-statistic intervals of the median at 95 %.
@pytest.mark.parametrize(("n", "rank"), [(5, None), (6, 1), (8, 1), (9, 2), (20, 6), (30, 10), (50, 18), (100, 40)])
def test_interval_of_the_median_against_tables(n: int, rank: int | None) -> None:
    found = median_interval([float(value) for value in range(1, n + 1)])
    assert found == (None if rank is None else (float(rank), float(n + 1 - rank)))


def test_interval_of_very_many_samples() -> None:
    n = 5000
    found = median_interval([float(value) for value in range(1, n + 1)])
    assert found is not None
    half_width = 1.96 * math.sqrt(n) / 2  # the normal limit of the binomial
    assert found[0] == pytest.approx(n / 2 - half_width, abs=2)
    assert found[1] == pytest.approx(n / 2 + half_width, abs=2)


def test_nothing_measured_is_null_with_a_reason() -> None:
    metric = summarize("ms", [])
    assert (metric.n, metric.median, metric.samples, metric.reason) == (0, None, (), "nothing was measured")
    assert unmeasured("ms", "why").reason == "why"
