"""Planned looks and the order of launches."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.looks import PLAN, Look, launch_order, progress
from llm_perf_opt.analysis.verdict import judge

SCATTERED = [100.0 * (1 + 0.07 * ((7 * step) % 20) / 20) for step in range(20)]


@given(st.integers(0, 40))
def test_any_number_of_pairs_is_balanced_and_a_prefix_of_more(launches: int) -> None:
    order = launch_order(launches)
    assert order.count("A") == order.count("B") == launches
    assert launch_order(40).startswith(order)
    assert all(set(pair) == {"A", "B"} for pair in zip(order[::2], order[1::2], strict=True))


@pytest.mark.parametrize(("launches", "power"), [(2, 1), (4, 2), (8, 3)])
def test_drifts_cancel(launches: int, power: int) -> None:
    order = launch_order(launches)
    for exponent in range(power + 1):
        sums = {side: sum(place**exponent for place, made in enumerate(order) if made == side) for side in "AB"}
        assert sums["A"] == sums["B"]


def test_it_begins_abba() -> None:
    assert launch_order(4) == "ABBABAAB"


def test_nothing_is_said_before_the_first_look() -> None:
    found = progress([1.0] * 4, [9.0] * 20)
    assert (found.verdict, found.look, found.next) == (None, None, PLAN[0])


def test_between_looks_the_last_one_stands() -> None:
    a, b = SCATTERED[:7], [value + 1 for value in SCATTERED[:9]]
    found = progress(a, b)
    assert (found.look, found.next) == (PLAN[0], PLAN[1])
    assert found.verdict == judge(a[:5], b[:5], level=PLAN[0].level)


def test_the_first_look_that_decides_is_final() -> None:
    """What came later would have said the opposite."""
    a = SCATTERED[:5] + [1000.0] * 15
    b = [value * 2 for value in SCATTERED[:5]] + [1.0] * 15
    found = progress(a, b)
    assert found.verdict is not None
    assert (found.verdict.outcome, found.look, found.next) == ("slower", PLAN[0], None)
    assert judge(a, b).outcome == "faster"


def test_after_the_last_look_there_is_none() -> None:
    found = progress(SCATTERED, SCATTERED[::-1])
    assert found.verdict is not None
    assert (found.verdict.outcome, found.look, found.next) == ("cannot tell", PLAN[-1], None)
    assert found.verdict.level == PLAN[-1].level


def false_alarms(plan: tuple[Look, ...], trials: int = 500) -> float:
    rng = random.Random(1)
    alarms = 0
    for _ in range(trials):
        a, b = ([rng.lognormvariate(0, 0.1) for _ in range(20)] for _ in range(2))
        verdict = progress(a, b, plan=plan).verdict
        assert verdict is not None
        alarms += verdict.outcome in ("faster", "slower")
    return alarms / trials


def test_the_whole_plan_keeps_five_percent_and_looking_after_each_launch_does_not() -> None:
    """4.1 % and about 15 %; the standard error of so many trials is 0.9 and 2.1 %."""
    assert 0.02 < false_alarms(PLAN) < 0.07
    assert false_alarms(tuple(Look(launches, 0.05) for launches in range(5, 21)), 300) > 0.08
