"""Gates: exact one-sided tests by counting every order, Holm against a direct implementation."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.one_sided import Limit, decide_together, holm, replicates_needed
from llm_perf_opt.records.comparison import GateMeasure

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def limits(measure: GateMeasure, limit: float, a: list[float], b: list[float], gates: int = 1) -> list[Limit]:
    return [Limit(">", measure, limit, a, b)] * gates


# Holm


def rejected_stepwise(p_values: list[float], level: float) -> set[int]:
    """As Holm wrote it: the smallest against level/k, the next against level/(k − 1), until one is not rejected."""
    rejected: set[int] = set()
    for step, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        if (len(p_values) - step) * p_values[index] > level:
            break
        rejected.add(index)
    return rejected


@given(P_VALUES, st.floats(0.001, 0.2))
def test_adjusted_values_reject_what_the_steps_do(p_values: list[float], level: float) -> None:
    adjusted = holm(p_values)
    assert {index for index, p in enumerate(adjusted) if p <= level} == rejected_stepwise(p_values, level)


@given(P_VALUES)
def test_adjusting_never_lessens_and_is_no_worse_than_bonferroni(p_values: list[float]) -> None:
    for p, adjusted in zip(p_values, holm(p_values), strict=True):
        assert p <= adjusted <= min(1.0, len(p_values) * p) or adjusted == p


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


# Exact tests


@pytest.mark.parametrize(("m", "n"), [(3, 3), (4, 4), (5, 4), (2, 6)])
@pytest.mark.parametrize("measure", ["change_percent", "difference"])
@pytest.mark.parametrize("outcome", ["crossed", "passed"])
def test_at_the_limit_no_more_orders_than_the_level_are_called_either(
    m: int, n: int, measure: GateMeasure, outcome: str
) -> None:
    """B lies exactly at the limit from A, so each order is equally likely."""
    limit, called, smallest = 10.0, 0, 1.0
    orders = list(itertools.combinations(range(m + n), m))
    for chosen in orders:
        a = [50.0 + 7.3 * rank for rank in chosen]
        base = [50.0 + 7.3 * rank for rank in range(m + n) if rank not in chosen]
        b = [value * 1.1 if measure == "change_percent" else value + 10 for value in base]
        decision = decide_together(limits(measure, limit, a, b))[0]
        called += decision.outcome == outcome
        smallest = min(smallest, decision.crossed_p)
    assert 0 < Fraction(called, len(orders)) <= Fraction(1, 20)
    assert smallest == pytest.approx(1 / len(orders))


@pytest.mark.parametrize("count", [5, 6, 8])
@pytest.mark.parametrize("outcome", ["crossed", "passed"])
def test_a_limit_on_b_itself_is_a_test_of_signs(count: int, outcome: str) -> None:
    """Above and below the median are equally likely."""
    orders = list(itertools.product((99.0, 101.0), repeat=count))
    called = sum(decide_together(limits("value", 100.0, [1.0], list(b)))[0].outcome == outcome for b in orders)
    assert 0 < Fraction(called, len(orders)) <= Fraction(1, 20)


@pytest.mark.parametrize(
    ("operator", "limit", "outcome"),
    [(">", 5.0, "crossed"), (">", 30.0, "passed"), ("<", 5.0, "passed"), ("<", 30.0, "crossed"), (">", 12.0, None)],
)
def test_outcomes(operator: str, limit: float, outcome: str | None) -> None:
    a, b = [100.0, 101.0, 102.0, 103.0], [110.0, 112.0, 115.0, 119.0]
    gate = Limit("<" if operator == "<" else ">", "change_percent", limit, a, b)
    assert decide_together([gate])[0].outcome == (outcome or "inconclusive")


def test_values_at_the_limit_decide_nothing() -> None:
    decision = decide_together(limits("difference", 0.0, [5.0] * 6, [5.0] * 6))[0]
    assert (decision.outcome, decision.crossed_p, decision.passed_p) == ("inconclusive", 1, 1)
    assert decide_together(limits("change_percent", 5.0, [5.0] * 6, [5.0] * 6))[0].outcome == "passed"
    assert decide_together(limits("change_percent", 5.0, [0.0] * 6, [0.0] * 6))[0].outcome == "inconclusive"
    assert decide_together(limits("difference", 1.0, [0.0] * 6, [0.0] * 6))[0].outcome == "passed"


# Too few


@pytest.mark.parametrize("gates", [1, 2, 3, 4, 6, 12, 13, 46, 47])
def test_needed_is_the_fewest_that_can_decide_and_one_fewer_cannot(gates: int) -> None:
    needed = replicates_needed("difference", 0.05 / gates)
    enough, few = (
        decide_together(limits("difference", 0.0, [1.0] * count, [2.0] * count, gates))
        for count in (needed, needed - 1)
    )
    assert {decision.outcome for decision in enough} == {"crossed"}
    assert {decision.outcome for decision in few} == {"inconclusive"}
    assert {decision.replicates_needed for decision in few} == {needed}
    assert math.comb(2 * needed, needed) >= 20 * gates


def test_of_b_itself() -> None:
    assert [replicates_needed("value", 0.05 / gates) for gates in (1, 2, 4, 7, 13)] == [5, 6, 7, 8, 9]
    few = decide_together(limits("value", 1.0, [1.0], [2.0] * 4))[0]
    assert (few.outcome, few.replicates_needed) == ("inconclusive", 5)
    assert few.reason == "4 launches cannot decide this gate: 5 in B can"


def test_one_launch_a_side_decides_nothing() -> None:
    decision = decide_together(limits("change_percent", 5.0, [100.0], [300.0]))[0]
    assert decision.reason == "one launch a side cannot decide this gate: 3 a side can"


def test_fewer_than_five_blocks_decide_nothing() -> None:
    a, b = [1.0, 1.1, 1.2, 1.3], [2.0, 2.1, 2.2, 2.3]
    assert decide_together(limits("change_percent", 5.0, a, b))[0].outcome == "crossed"
    blocks = decide_together(limits("change_percent", 5.0, a, b), replicate="block")[0]
    assert (blocks.outcome, blocks.replicates_needed) == ("inconclusive", 5)
    assert blocks.reason.startswith("measured at different times")
    more = decide_together(limits("change_percent", 5.0, [*a, 1.4], [*b, 2.4]), replicate="block")[0]
    assert more.outcome == "crossed"


@pytest.mark.parametrize("bad", [math.nan, -1.0])
def test_no_number_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="no measured amount"):
        decide_together(limits("difference", 0.0, [1.0], [bad]))
    assert decide_together([]) == ()


def test_of_many_gates_without_a_change_any_is_crossed_in_five_percent_of_comparisons_at_most() -> None:
    """Ten independent figures at their limit: without adjustment 40 % of comparisons, with it 5 %."""
    rng, together, alone, trials = random.Random(3), 0, 0, 400
    for _ in range(trials):
        gates = [
            Limit(">", "change_percent", 0.0, *([rng.lognormvariate(0, 0.02) for _ in range(6)] for _ in range(2)))
            for _ in range(10)
        ]
        together += any(decision.outcome == "crossed" for decision in decide_together(gates))
        alone += any(decide_together([gate])[0].outcome == "crossed" for gate in gates)
    assert together / trials < 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)
    assert alone / trials > 0.25
