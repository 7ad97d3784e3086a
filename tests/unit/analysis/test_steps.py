"""Steps in a series of runs: found where they are, and not where nothing is."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.steps import _chance, find_steps
from llm_perf_opt.analysis.verdict import BLOCKS_NEEDED


def noisy(seed: int, *levels: tuple[float, int], sd: float = 0.005) -> list[float]:
    chance = random.Random(seed)
    return [level * chance.lognormvariate(0, sd) for level, count in levels for _ in range(count)]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.lists(st.integers(0, 9), min_size=1, max_size=4))
def test_the_chance_is_that_of_all_orders_of_the_ranks(before: list[int], after: list[int]) -> None:
    """Against brute force: how many ways to choose the runs before give ranks as far apart or farther; equal values
    may only make it larger."""
    found = _chance(before, after)
    total = len(before) + len(after)
    least = min(sum(a >= b for a in after for b in before), sum(a <= b for a in after for b in before))
    ways = [
        sum(x > y for x in set(range(total)) - set(chosen) for y in chosen)
        for chosen in itertools.combinations(range(total), len(before))
    ]
    exact = min(1.0, 2 * sum(count <= least for count in ways) / len(ways))
    assert found == (pytest.approx(exact) if 3 * least <= len(before) * len(after) else 1.0)


@pytest.mark.parametrize("place", [5, 12, 40, 95])
def test_a_step_is_found_where_it_is(place: int) -> None:
    (step,) = find_steps(noisy(1, (10.0, place), (11.0, 100 - place)))
    assert step.index == place
    assert step.verdict.outcome == "slower"
    assert step.verdict.replicate == "block"
    assert step.verdict.change_percent == pytest.approx(10, abs=1.5)
    assert step.verdict.change_percent_interval is not None
    assert step.verdict.change_percent_interval[0] > 0


def test_several_steps_and_the_figures_of_which_more_is_better() -> None:
    values = noisy(2, (10.0, 30), (12.0, 30), (10.0, 30))
    assert [(step.index, step.verdict.outcome) for step in find_steps(values)] == [(30, "slower"), (60, "faster")]
    assert [step.verdict.outcome for step in find_steps(values, better="higher")] == ["faster", "slower"]


@given(st.lists(st.floats(0, 1e6), max_size=2 * BLOCKS_NEEDED - 1))
def test_below_five_runs_on_each_side_there_is_none(values: list[float]) -> None:
    assert find_steps(values) == []


@given(st.lists(st.floats(0, 1e6), max_size=40))
def test_every_step_leaves_five_runs_on_each_side(values: list[float]) -> None:
    places = [0, *(step.index for step in find_steps(values)), len(values)]
    assert all(later - earlier >= BLOCKS_NEEDED for earlier, later in itertools.pairwise(places)) or len(places) == 2


def test_nothing_is_a_step_within_the_tolerance_or_of_equal_values() -> None:
    assert find_steps(noisy(3, (10.0, 20), (10.05, 20), sd=0.0005)) == []
    assert len(find_steps(noisy(3, (10.0, 20), (10.05, 20), sd=0.0005), tolerance_percent=0.1)) == 1
    assert find_steps([5.0] * 40) == find_steps([0.0] * 40) == []


def test_false_alarms_stay_rare() -> None:
    """200 series in which nothing happens; of full size in `tests/benchmarks/bench_trend.py`."""
    alarms = sum(bool(find_steps(noisy(seed, (10.0, 25), sd=0.03))) for seed in range(200))
    assert alarms <= 20, "10 are expected at most; more than 20 have a chance below 0.001"
