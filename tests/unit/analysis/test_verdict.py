"""Verdicts: exact levels by counting every order, and what must not change them."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from llm_perf_opt.analysis.power import launches_needed, smallest_change, smallest_tolerance
from llm_perf_opt.analysis.student import t_quantile
from llm_perf_opt.analysis.verdict import Outcome, Verdict, judge, judge_blocks

TIMES = st.lists(st.floats(0.5, 1e4), min_size=1, max_size=7)
MIRROR: dict[Outcome, Outcome] = {
    "faster": "slower",
    "slower": "faster",
    "same": "same",
    "cannot tell": "cannot tell",
}


def spread(percents: list[float], middle: float = 100.0) -> list[float]:
    return [middle * (1 + percent / 100) for percent in percents]


# Exact levels


@pytest.mark.parametrize(("m", "n"), [(4, 4), (5, 5), (3, 5), (2, 8), (5, 6)])
@pytest.mark.parametrize("level", [0.05, 0.0182])
def test_of_all_orders_of_equal_launches_no_more_than_the_level_are_called_different(
    m: int, n: int, level: float
) -> None:
    """Every order is equally likely where nothing changed; values are far apart, so that none is called the same."""
    different, orders = 0, 0
    for chosen in itertools.combinations(range(m + n), m):
        a = [10.0 * 1.5**rank for rank in chosen]
        b = [10.0 * 1.5**rank for rank in range(m + n) if rank not in chosen]
        verdict = judge(a, b, level=level)
        if verdict.method != "exact rank interval":
            return
        assert verdict.outcome != "same"
        different += verdict.outcome != "cannot tell"
        orders += 1
        confidence = verdict.confidence
    assert confidence == pytest.approx(1 - different / orders)
    assert 0 < Fraction(different, orders) <= level


@pytest.mark.parametrize(("n", "confidence"), [(4, 0.971), (5, 0.968), (10, 0.957)])
def test_confidence_that_ranks_keep(n: int, confidence: float) -> None:
    side = spread([float(step) for step in range(n)])
    verdict = judge(side, side)
    assert verdict.method == "exact rank interval"
    assert verdict.confidence == pytest.approx(confidence, abs=5e-4)


@pytest.mark.parametrize("n", [2, 3])
def test_fewer_than_four_a_side_never_reach_it(n: int) -> None:
    verdict = judge(spread([0.0, 1.0, 2.0][:n]), spread([0.0, 1.0, 2.0][:n]))
    assert (verdict.method, verdict.confidence) == ("Welch on logarithms", 0.95)


def test_welch_by_hand() -> None:
    a, b = [100.0, 102.0, 101.0], [110.0, 111.0, 112.0]
    of_a, of_b = [math.log(value) for value in a], [math.log(value) for value in b]
    error = math.sqrt((statistics.variance(of_a) + statistics.variance(of_b)) / 3)
    freedom = 9 * error**4 * 2 / (statistics.variance(of_a) ** 2 + statistics.variance(of_b) ** 2)
    change = statistics.fmean(of_b) - statistics.fmean(of_a)
    verdict = judge(a, b)
    half = t_quantile(0.975, freedom) * error
    assert verdict.change_percent == pytest.approx(math.expm1(change) * 100)
    assert verdict.change_percent_interval == pytest.approx(
        (math.expm1(change - half) * 100, math.expm1(change + half) * 100)
    )
    assert verdict.outcome == "slower"


# Outcomes


@pytest.mark.parametrize(
    ("b", "outcome"),
    [
        (spread([10, 11, 12, 13, 14]), "slower"),
        (spread([-10, -11, -12, -13, -14]), "faster"),
        (spread([0.0, 0.1, 0.2, 0.3, 0.4]), "same"),
        (spread([0, 1, 2, 3, 8]), "cannot tell"),
    ],
)
def test_outcomes(b: list[float], outcome: Outcome) -> None:
    a = spread([0.0, 0.1, 0.2, 0.3, 0.4])
    verdict = judge(a, b)
    assert verdict.outcome == outcome
    assert judge(a, b, better="higher").outcome == MIRROR[outcome]
    assert (verdict.needed is None) == (outcome != "cannot tell")
    assert verdict.smallest_change_percent is not None


def test_a_change_that_is_shown_but_within_the_tolerance_is_the_same() -> None:
    a, b = spread([0.0, 0.01, 0.02, 0.03]), spread([0.5, 0.51, 0.52, 0.53])
    assert judge(a, b).outcome == "same"
    assert judge(a, b, tolerance_percent=0.1).outcome == "slower"


def test_the_tolerance_is_held_against_the_interval_of_two_one_sided_tests() -> None:
    """Four a side at 5 %: the second of the 16 ratios at each end (1/70 + 1/70 = 2.9 % a side), not the first."""
    a, b = spread([0, 0, 0, 0]), spread([0.0, 0.0, 0.0, 3.0])
    assert judge(a, b).outcome == "cannot tell"  # four ratios are 1.03
    assert judge(spread([0, 0, 0, 0]), spread([0.0, 0.0, 0.0, 0.9])).outcome == "same"
    assert judge(spread([0, 0.9, 0, 0]), spread([0.0, 0.0, 0.0, -0.9])).outcome == "same"  # one ratio is beyond


def test_one_launch_a_side_has_no_verdict() -> None:
    verdict = judge([100.0], [150.0])
    assert (verdict.outcome, verdict.method, verdict.change_percent_interval) == ("cannot tell", None, None)
    assert verdict.change_percent == pytest.approx(50)
    assert "one launch a side" in verdict.reason
    assert (verdict.scatter_percent, verdict.smallest_change_percent, verdict.needed) == (None, None, None)


def test_one_launch_against_enough_has_ranks() -> None:
    """1/40 a side: nothing but 39 on one side will do."""
    assert judge([100.0], spread([float(step) for step in range(1, 40)])).outcome == "slower"
    few = judge([100.0], [101.0, 102.0, 103.0])
    assert (few.outcome, few.method) == ("cannot tell", None)
    assert few.needed is not None
    assert few.reason.startswith("1 and 3 launches")


# What is no ordinary time


def test_constant_times() -> None:
    assert judge([5.0] * 4, [5.0] * 4).outcome == "same"
    assert judge([5.0] * 4, [6.0] * 4).outcome == "slower"
    few = judge([0.1] * 3, [0.2] * 3)
    assert (few.outcome, few.method) == ("cannot tell", None)
    assert "scatter" in few.reason


def test_times_of_zero() -> None:
    equal = judge([0.0] * 5, [0.0] * 5)
    assert (equal.outcome, equal.change_percent) == ("same", None)
    more = judge([0.0, 0.0, 1.0, 2.0], [3.0, 4.0, 5.0, 6.0])
    assert (more.outcome, more.change_percent, more.change_percent_interval) == ("slower", None, None)
    assert judge([3.0, 4.0, 5.0, 6.0], [0.0, 0.0, 1.0, 2.0]).outcome == "faster"
    mixed = judge([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0])
    assert (mixed.outcome, mixed.method) == ("cannot tell", "exact rank interval")
    assert judge([0.0, 1.0], [2.0, 3.0]).method is None


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_no_number_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="no measured amount"):
        judge([1.0, bad], [1.0, 2.0])
    with pytest.raises(ValueError, match="B has"):
        judge([1.0, 2.0], [bad])
    with pytest.raises(ValueError, match="no launch"):
        judge([], [1.0])
    with pytest.raises(ValueError, match="tolerance or level"):
        judge([1.0], [1.0], level=bad)


# What must not change a verdict


@given(TIMES, TIMES)
def test_exchanging_the_sides_mirrors_the_verdict(a: list[float], b: list[float]) -> None:
    there, back = judge(a, b), judge(b, a)
    assert back.outcome == MIRROR[there.outcome]
    assert (back.method, back.confidence) == (there.method, there.confidence)
    assert (back.scatter_percent is None) == (there.scatter_percent is None)
    if there.change_percent_interval is not None:
        assert back.change_percent_interval is not None
        low, high = logs(there.change_percent_interval)
        assume(-10 < low < high < 10)  # beyond, a percentage has lost the digits
        assert logs(back.change_percent_interval) == pytest.approx([-high, -low], abs=1e-9)


def logs(percents: tuple[float, float]) -> list[float]:
    return [math.log1p(percent / 100) if percent > -100 else -math.inf for percent in percents]


@given(TIMES, TIMES, st.floats(1e-6, 1e6))
def test_the_unit_does_not_matter(a: list[float], b: list[float], factor: float) -> None:
    verdict = judge(a, b)
    limits = [0.0, math.log(1.01), -math.log(1.01)]
    ends = [math.log(y / x) for x in a for y in b]
    assume(verdict.method != "Welch on logarithms")
    assume(all(end == 0 or abs(end - limit) > 1e-9 for end in ends for limit in limits))
    scaled = judge([value * factor for value in a], [value * factor for value in b])
    assert scaled.outcome == verdict.outcome
    assert scaled.change_percent == pytest.approx(verdict.change_percent, rel=1e-6, abs=1e-9)


@given(TIMES, TIMES, st.randoms())
def test_the_order_of_launches_does_not_matter(a: list[float], b: list[float], rng: random.Random) -> None:
    verdict = judge(a, b)
    mixed = judge(rng.sample(a, len(a)), rng.sample(b, len(b)))
    assert (mixed.outcome, mixed.method) == (verdict.outcome, verdict.method)


@given(TIMES, TIMES)
def test_the_estimate_lies_in_the_interval_and_the_outcome_agrees(a: list[float], b: list[float]) -> None:
    verdict = judge(a, b, tolerance_percent=1e-9)
    if verdict.change_percent_interval is None:
        assert verdict.outcome == "cannot tell"
        return
    low, high = verdict.change_percent_interval
    assert verdict.change_percent is not None
    assert low <= verdict.change_percent <= high
    if verdict.outcome in ("faster", "slower"):
        assert (low > 0, high < 0) == (verdict.outcome == "slower", verdict.outcome == "faster")


def test_times_that_lie_powers_of_ten_apart() -> None:
    verdict = judge([1e-300, 1e300], [1.0, 1e-200], level=0.001)
    assert verdict.outcome == "cannot tell"
    assert verdict.change_percent_interval == (-100, math.inf)


# Blocks


def test_a_run_is_one_replicate() -> None:
    """Many launches of two runs are still two blocks."""
    verdict = judge_blocks([[100.0 + step for step in range(20)]], [[200.0 + step for step in range(20)]])
    assert (verdict.outcome, verdict.replicate, verdict.replicates) == ("cannot tell", "block", (1, 1))
    assert verdict.reason.startswith("measured at different times: one block a side")


def test_four_blocks_a_side_are_too_few_and_five_are_not() -> None:
    a, b = [[value] for value in spread([0, 1, 2, 3, 4])], [[value] for value in spread([20, 21, 22, 23, 24])]
    four = judge_blocks(a[:4], b)
    assert (four.outcome, four.change_percent_interval is None) == ("cannot tell", False)
    assert four.reason.startswith("measured at different times: 4 and 5 blocks")
    assert judge_blocks(a, b).outcome == "slower"


def test_a_block_counts_by_the_median_of_its_launches() -> None:
    blocks = [[value, value, 1e6] for value in spread([0, 1, 2, 3, 4])]
    assert judge_blocks(blocks, blocks).change_percent == 0


def test_blocks_that_are_needed_are_at_least_five() -> None:
    near = judge_blocks([[100.0], [101.0]], [[130.0], [131.0]])
    assert near.needed is not None
    assert near.needed.launches == 5


# What could have been shown


def found_in(scatter: float, change: float, n: int, outcomes: set[str], trials: int = 800) -> float:
    rng = random.Random(n)
    sides = (([rng.lognormvariate(0, scatter) for _ in range(n)] for _ in range(2)) for _ in range(trials))
    return sum(judge(a, [value * math.exp(change) for value in b]).outcome in outcomes for a, b in sides) / trials


@pytest.mark.parametrize("n", [3, 4, 5, 8])
def test_the_smallest_change_is_found_in_about_eight_of_ten_cases(n: int) -> None:
    change = smallest_change(0.02, n, n, 0.05)
    assert change is not None
    assert (0.62 if n == 3 else 0.72) < found_in(0.02, change, n, {"slower"}) < 0.88
    assert found_in(0.02, change * 0.6, n, {"slower"}) < 0.6


def test_the_smallest_tolerance_is_confirmed_in_about_eight_of_ten_cases() -> None:
    tolerance = smallest_tolerance(0.005, 10, 10, 0.05)
    assert tolerance is not None
    scatter = 0.005 * math.log(1.01) / tolerance  # for which it is the default tolerance
    assert 0.72 < found_in(scatter, 0, 10, {"same"}) < 0.88


def test_launches_needed() -> None:
    shown = launches_needed(0.02, 0.05, 0.01, 0.05)
    assert (shown.what, shown.launches) == ("show", 5)
    confirmed = launches_needed(0.005, 0.001, math.log(1.01), 0.05)
    assert (confirmed.what, confirmed.launches) == ("confirm", 6)
    assert confirmed.change_percent == pytest.approx(1)
    # twice the scatter, four times as many
    assert launches_needed(0.04, 0.01, 0.001, 0.05).launches == pytest.approx(
        4 * launches_needed(0.02, 0.01, 0.001, 0.05).launches, rel=0.03
    )


@given(st.floats(1e-3, 0.1), st.floats(1e-3, 0.3), st.booleans(), st.sampled_from([0.05, 0.016]))
def test_so_many_are_enough_and_much_fewer_are_not(scatter: float, target: float, show: bool, level: float) -> None:
    estimate, tolerance, reach = (target, 1e-4, smallest_change) if show else (0.0, target, smallest_tolerance)
    needed = launches_needed(scatter, estimate, tolerance, level).launches
    with_them = reach(scatter, needed + needed // 10, needed + needed // 10, level)
    assert with_them is not None
    assert with_them <= target
    without = reach(scatter, needed - 1, needed - 1, level)
    assert needed <= 2 or needed == 13 or without is None or without > target * (0.98 if needed > 12 else 1)


def test_a_verdict_that_cannot_tell_says_what_would_do() -> None:
    verdict: Verdict = judge(spread([0, 2, 4, 6, 8]), spread([1, 3, 5, 7, 9]))
    assert verdict.scatter_percent == pytest.approx(3.1, abs=0.1)
    assert verdict.smallest_change_percent is not None
    assert 6 < verdict.smallest_change_percent < 8.5
    assert verdict.needed is not None
    assert verdict.needed.what == "confirm"
    assert verdict.needed.launches is not None
    assert verdict.needed.launches > 100
