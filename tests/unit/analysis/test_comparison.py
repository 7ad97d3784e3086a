"""What is said of a figure of two runs, and what is not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.comparison import compare_figure, compare_figures
from llm_perf_opt.analysis.statistics import summarize, unmeasured
from llm_perf_opt.records.comparison import FigureChange
from llm_perf_opt.records.metrics import Metric

TIMES = st.lists(st.floats(0.1, 1e4), min_size=1, max_size=5)


def metric(*batches: Sequence[float], unit: str = "ms") -> Metric:
    """A figure with these observations, batch by batch."""
    samples = [sample for batch in batches for sample in batch]
    return summarize(unit, samples, None, [index for index, batch in enumerate(batches) for _ in batch])


def change(a: Metric, b: Metric) -> FigureChange:
    return compare_figure("x", a, b)


def test_a_change_is_b_against_a_within_batches() -> None:
    # The second batch is ten times the first; B takes 20 % longer in both.
    a = metric([10.0, 11.0, 12.0, 13.0], [100.0, 110.0, 120.0, 130.0])
    found = change(a, metric(*[[1.2 * value for value in batch] for batch in ([10, 11, 12, 13], [100, 110, 120, 130])]))
    assert found.change_percent == pytest.approx(20.0)
    assert found.change_percent_ci95 is not None
    assert 0 < found.change_percent_ci95[0] < 20 < found.change_percent_ci95[1]
    assert found.difference is not None
    assert found.verdict == "worse"
    assert found.reason is None


def test_batches_are_never_held_against_each_other() -> None:
    a = metric([1.0, 1.0, 1.0], [100.0, 100.0, 100.0])
    assert change(a, metric([2.0, 2.0, 2.0], [200.0, 200.0, 200.0])).change_percent_ci95 == pytest.approx((100, 100))


@pytest.mark.parametrize(("unit", "better"), [("ms", "lower"), ("tokens/s", "higher"), ("ratio", "higher")])
def test_which_way_is_better(unit: str, better: str) -> None:
    low, high = metric([1.0, 1.1, 1.2, 1.3], unit=unit), metric([2.0, 2.1, 2.2, 2.3], unit=unit)
    assert change(low, high).better == better
    assert change(low, high).verdict == ("better" if better == "higher" else "worse")
    assert change(high, low).verdict == ("better" if better == "lower" else "worse")


@given(st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=3))
def test_an_interval_that_holds_zero_is_never_an_improvement(batches: list[tuple[list[float], list[float]]]) -> None:
    found = change(metric(*(a for a, _ in batches)), metric(*(b for _, b in batches)))
    if found.change_percent_ci95 is None:
        assert found.verdict == "unknown"
        assert "measure.repeats=" in str(found.reason)
        return
    low, high = found.change_percent_ci95
    assert found.difference_ci95 is not None
    changed = not found.difference_ci95[0] <= 0 <= found.difference_ci95[1]
    assert (found.verdict in ("better", "worse")) == changed
    # The logarithm keeps the order, so the percentages lie on the same side of no change.
    assert (low >= 0 or high <= 0) if changed else low <= 0 <= high


@given(st.lists(TIMES, min_size=1, max_size=3))
def test_a_run_against_itself_shows_no_change(batches: list[list[float]]) -> None:
    found = change(metric(*batches), metric(*batches))
    assert found.verdict in ("no change shown", "unknown")
    assert found.difference == pytest.approx(0)


def test_identical_values_have_an_interval_of_no_width() -> None:
    same = metric([5.0] * 4)
    found = change(same, same)
    assert (found.change_percent, found.change_percent_ci95, found.verdict) == (0, (0, 0), "no change shown")


@pytest.mark.parametrize(
    ("a", "b", "repeats"),
    [
        ([[1.0] * 3], [[2.0] * 3], 4),
        ([[1.0] * 2] * 2, [[2.0] * 2] * 2, 3),
        ([[1.0]], [[2.0]], 4),
    ],
)
def test_too_few_repeats_say_how_many_would_do(a: list[list[float]], b: list[list[float]], repeats: int) -> None:
    found = change(metric(*a), metric(*b))
    assert found.change_percent == pytest.approx(100)
    assert found.change_percent_ci95 is None
    assert found.verdict == "unknown"
    assert f"measure.repeats={repeats} in both runs would do" in str(found.reason)
    enough = [[1.0] * repeats] * len(a), [[2.0] * repeats] * len(b)
    assert change(metric(*enough[0]), metric(*enough[1])).verdict == "worse"


def test_of_zero_nothing_is_a_percentage_but_there_is_a_difference() -> None:
    found = change(metric([0.0, 0.0, 0.0, 0.0]), metric([1.0, 1.0, 1.0, 1.0]))
    assert found.change_percent is None
    assert found.change_percent_ci95 is None
    assert "nothing is a percentage" in str(found.percent_reason)
    assert (found.difference, found.difference_ci95, found.verdict) == (1.0, (1.0, 1.0), "worse")


def test_bytes_are_compared_by_value() -> None:
    a, b = summarize("bytes", [100.0], "peak"), summarize("bytes", [105.0], "peak")
    found = change(a, b)
    assert (found.change_percent, found.difference, found.verdict) == (5.0, 5.0, "more")
    assert found.change_percent_ci95 is None
    assert "one value a run" in str(found.reason)
    assert (change(a, a).verdict, change(b, a).verdict) == ("equal", "less")
    zero = change(summarize("bytes", [0.0], "peak"), b)
    assert (zero.change_percent, zero.difference) == (None, 105.0)


def test_bytes_of_two_sources_are_not_one_quantity() -> None:
    found = change(summarize("bytes", [100.0], "CUDA allocator"), summarize("bytes", [105.0], "resident set"))
    assert (found.change_percent, found.difference, found.verdict) == (None, None, "unknown")
    assert "A is CUDA allocator, B is resident set" in str(found.reason)


def test_a_single_measurement_has_no_interval() -> None:
    found = change(summarize("J/token", [2.0]), summarize("J/token", [1.0]))
    assert (found.change_percent, found.change_percent_ci95, found.verdict) == (-50.0, None, "unknown")
    assert "one observation a run" in str(found.reason)


def test_what_was_not_measured_is_not_compared() -> None:
    known, unknown = metric([1.0] * 4), unmeasured("ms", "no GPU")
    for a, b, run in ((known, unknown, "B"), (unknown, known, "A"), (unknown, unknown, "A")):
        found = change(a, b)
        assert (found.change_percent, found.difference, found.verdict) == (None, None, "unknown")
        assert found.reason == f"not measured in {run}: no GPU"


def test_other_batches_and_other_work_are_not_compared() -> None:
    assert change(metric([1.0] * 4), metric([1.0] * 4, [2.0] * 4)).reason == "the runs measured it in different batches"
    (found,) = compare_figures({"x": metric([1.0] * 4)}, {"x": metric([2.0] * 4)}, "different work: why")
    assert (found.a.median, found.b.median) == (1.0, 2.0)
    assert (found.change_percent, found.difference, found.reason) == (None, None, "different work: why")
