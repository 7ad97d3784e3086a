"""The shift between two runs against counting every arrangement."""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_perf_opt.analysis import shift as module
from llm_perf_opt.analysis.shift import (
    Sizes,
    hodges_lehmann_shift,
    interval_rank,
    lower_tail,
    null_counts,
    rank_confidence,
    repeats_needed,
    shows_shift,
)

SIZES = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=3).filter(
    lambda sizes: math.prod(math.comb(m + n, m) for m, n in sizes) <= 3000
)
TIMES = st.lists(st.floats(0.1, 1e4), min_size=1, max_size=6)


def arrangements(sizes: Sizes) -> list[list[tuple[list[float], list[float]]]]:
    """Every way to deal the ranks of each batch out to A and B."""
    batches = []
    for m, n in sizes:
        ranks = range(m + n)
        batches.append(
            [
                ([float(rank) for rank in chosen], [float(rank) for rank in ranks if rank not in chosen])
                for chosen in itertools.combinations(ranks, m)
            ]
        )
    return [list(strata) for strata in itertools.product(*batches)]


def below_zero(strata: list[tuple[list[float], list[float]]]) -> int:
    return sum(1 for a, b in strata for x in a for y in b if y < x)


@settings(deadline=None, max_examples=60)
@given(SIZES)
def test_the_distribution_is_that_of_counting(sizes: list[tuple[int, int]]) -> None:
    counted = Counter(below_zero(strata) for strata in arrangements(tuple(sizes)))
    pairs = sum(m * n for m, n in sizes)
    assert null_counts(tuple(sizes), pairs) == [counted[value] for value in range(pairs + 1)]


@settings(deadline=None, max_examples=60)
@given(SIZES)
def test_the_interval_holds_the_shift_in_95_percent_of_all_arrangements_and_a_narrower_one_does_not(
    sizes: list[tuple[int, int]],
) -> None:
    rank = interval_rank(tuple(sizes))
    every = arrangements(tuple(sizes))
    pairs = sum(m * n for m, n in sizes)

    def holds(k: int) -> Fraction:
        """Of all arrangements without a shift, those whose k-th smallest and largest difference hold 0."""
        found = sum(1 for strata in every if k <= below_zero(strata) <= pairs - k)
        return Fraction(found, len(every))

    if rank:
        assert holds(rank) >= Fraction(95, 100)
    if 2 * (rank + 1) <= pairs:
        assert holds(rank + 1) < Fraction(95, 100)


@settings(deadline=None)
@given(st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=4))
def test_shift_against_all_differences(strata: list[tuple[list[float], list[float]]]) -> None:
    differences = sorted(y - x for a, b in strata for x, y in itertools.product(a, b))
    found = hodges_lehmann_shift(strata)
    assert found.estimate == statistics.median(differences)
    rank = interval_rank(tuple(sorted((len(a), len(b)) for a, b in strata)))
    assert (found.interval is None) == (rank == 0)
    if found.interval is not None:
        assert found.interval[0] <= found.estimate <= found.interval[1]
        assert sum(1 for value in differences if value < found.interval[0]) <= rank - 1
        assert found.interval == (differences[rank - 1], differences[len(differences) - rank])
    left_out = found.interval is not None and not found.interval[0] <= 0 <= found.interval[1]
    assert shows_shift(strata) == left_out


def test_many_differences_are_those_that_few_are(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(8)
    strata = [([rng.gauss(0, 1) for _ in range(9)], [rng.gauss(0.5, 1) for _ in range(11)]) for _ in range(3)]
    few = hodges_lehmann_shift(strata)
    monkeypatch.setattr(module, "MANY_PAIRS", 0)
    assert hodges_lehmann_shift(strata) == few


@settings(deadline=None)
@given(st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=3))
def test_exchanging_the_runs_turns_the_sign(strata: list[tuple[list[float], list[float]]]) -> None:
    there, back = hodges_lehmann_shift(strata), hodges_lehmann_shift([(b, a) for a, b in strata])
    assert back.estimate == -there.estimate
    if there.interval is not None:
        assert back.interval == (-there.interval[1], -there.interval[0])


# Hollander, Wolfe and Chicken, table A.6, and any table of Mann-Whitney critical values: two-sided 5 %.
@pytest.mark.parametrize(("m", "n", "rank"), [(3, 3, 0), (4, 4, 1), (5, 5, 3), (6, 6, 6), (8, 8, 14), (10, 10, 24)])
def test_rank_against_tables(m: int, n: int, rank: int) -> None:
    assert interval_rank(((m, n),)) == rank


def test_what_cannot_be_reached() -> None:
    assert interval_rank(((3, 3),)) == 0
    assert interval_rank(((4, 4),)) == 1
    assert interval_rank(((3, 3), (3, 3))) > 0
    assert interval_rank(((2, 2), (2, 2))) == 0
    assert [repeats_needed(batches) for batches in (1, 2, 3, 5, 6)] == [4, 3, 2, 2, 1]


@pytest.mark.parametrize("sizes", [((12, 15),), ((10, 10),) * 20, ((1, 1),) * 400])
def test_the_normal_limit_is_within_two_ranks_of_the_exact_one(sizes: Sizes, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = interval_rank.__wrapped__(sizes)
    monkeypatch.setattr(module, "EXACT_STEPS", 0)
    assert abs(interval_rank.__wrapped__(sizes) - exact) <= 2


@settings(deadline=None, max_examples=40)
@given(SIZES, st.integers(0, 8))
def test_tail_and_confidence_against_counting(sizes: list[tuple[int, int]], most: int) -> None:
    counted = [below_zero(strata) for strata in arrangements(tuple(sizes))]
    assert lower_tail(tuple(sizes), most) == pytest.approx(sum(value <= most for value in counted) / len(counted))
    pairs = sum(m * n for m, n in sizes)
    if 1 <= 2 * most <= pairs:
        holds = sum(most <= value <= pairs - most for value in counted) / len(counted)
        assert rank_confidence(tuple(sizes), most) == pytest.approx(holds)


def test_the_normal_limit_of_the_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = [lower_tail.__wrapped__(((30, 40),), most) for most in (400, 500, 600)]
    monkeypatch.setattr(module, "EXACT_STEPS", 0)
    assert [lower_tail.__wrapped__(((30, 40),), most) for most in (400, 500, 600)] == pytest.approx(exact, abs=2e-3)
