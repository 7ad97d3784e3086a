"""Student's t against recorded quantiles and closed forms; Welch against a worked example."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.student import regularised_beta, t_quantile, t_upper_tail, welch

# By integrating the density with 30 digits (mpmath 1.3.0); degrees of freedom, then quantiles of:
PROBABILITIES = (0.6, 0.8, 0.95, 0.975, 0.9909, 0.9995)
QUANTILES = {
    1: (0.32491969623291, 1.3763819204712, 6.313751514675, 12.706204736175, 34.969578354857, 636.61924876872),
    2: (0.28867513459481, 1.0606601717798, 2.9199855803537, 4.3026527297495, 7.3109265302218, 31.599054576444),
    2.5: (0.28145951274855, 1.0101638747222, 2.5582186141359, 3.5746548420037, 5.572428634468, 18.277893528131),
    4: (0.2707222947076, 0.94096457723518, 2.1318467863267, 2.7764451051978, 3.8565930278221, 8.6103015813793),
    7.3: (0.26275680525072, 0.89367135718023, 1.8829300179564, 2.3450667365477, 3.0290177901705, 5.2832117589394),
    8: (0.26192109674883, 0.88888951776702, 1.8595480375309, 2.3060041352042, 2.9580630711473, 5.0413054333734),
    18: (0.25712304263817, 0.8620486679896, 1.7340636066175, 2.100922040241, 2.5973624169374, 3.9216458250852),
    100: (0.25402218245823, 0.84523042449102, 1.6602343260853, 1.9839715185236, 2.4009688092522, 3.3904913111642),
}
T = st.floats(-50, 50)


@pytest.mark.parametrize("freedom", QUANTILES)
def test_quantiles(freedom: float) -> None:
    found = [t_quantile(probability, freedom) for probability in PROBABILITIES]
    assert found == pytest.approx(QUANTILES[freedom], rel=1e-10)
    assert [t_upper_tail(value, freedom) for value in found] == pytest.approx([1 - p for p in PROBABILITIES], rel=1e-10)


@given(T)
def test_closed_forms(t: float) -> None:
    """Of one, two and four degrees of freedom: Abramowitz and Stegun 26.7.3 and 26.7.4."""
    assert t_upper_tail(t, 1) == pytest.approx(0.5 - math.atan(t) / math.pi, abs=1e-13)
    assert t_upper_tail(t, 2) == pytest.approx(0.5 - t / (2 * math.sqrt(2 + t * t)), abs=1e-13)
    sine = t / math.sqrt(4 + t * t)
    assert t_upper_tail(t, 4) == pytest.approx(0.5 - sine * (1 + (1 - sine * sine) / 2) / 2, abs=1e-13)


@given(T, st.floats(1, 1e4), st.floats(0.001, 0.999))
def test_symmetry_and_inversion(t: float, freedom: float, probability: float) -> None:
    assert t_upper_tail(-t, freedom) == pytest.approx(1 - t_upper_tail(t, freedom), abs=1e-14)
    assert t_quantile(1 - probability, freedom) == pytest.approx(-t_quantile(probability, freedom), rel=1e-9, abs=1e-12)
    assert 1 - t_upper_tail(t_quantile(probability, freedom), freedom) == pytest.approx(probability, rel=1e-11)


def test_the_normal_limit() -> None:
    assert t_quantile(0.975, 1e8) == pytest.approx(statistics.NormalDist().inv_cdf(0.975), rel=1e-7)


def test_ends() -> None:
    assert (t_upper_tail(math.inf, 3), t_upper_tail(-math.inf, 3), t_upper_tail(0, 3)) == (0, 1, 0.5)
    assert (regularised_beta(0, 1, 2, 3), regularised_beta(1, 0, 2, 3)) == (0, 1)
    for probability in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="probability"):
            t_quantile(probability, 3)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=6), st.floats(0.1, 10))
def test_equal_sizes_and_variances_give_students_own_test(a: list[float], by: float) -> None:
    scatter = statistics.variance(a)
    found = welch(a, [value + by for value in a])
    if scatter < 1e-9:
        return
    assert found is not None
    assert found.freedom == pytest.approx(2 * (len(a) - 1), rel=1e-5)
    assert found.error == pytest.approx(math.sqrt(2 * scatter / len(a)), rel=1e-5)
    assert found.estimate == pytest.approx(by, abs=1e-9)


def test_welch_by_hand() -> None:
    """Variances 1 and 16 of three values each: 1/3 + 16/3, squared, over the sum of their squares by two."""
    found = welch([1, 2, 3], [6, 10, 14])
    assert found is not None
    assert found.estimate == 8
    assert found.error == pytest.approx(math.sqrt(17 / 3))
    assert found.freedom == pytest.approx(17**2 / (1 / 2 + 16**2 / 2))
    low, high = found.interval(0.95)
    assert (low + high) / 2 == pytest.approx(8)
    assert (high - low) / 2 == pytest.approx(t_quantile(0.975, found.freedom) * found.error)


def test_what_has_no_error() -> None:
    assert welch([1.0], [2.0, 3.0]) is None
    assert welch([0.1] * 3, [0.2] * 3) is None
