"""What is said of a figure of two sides, and what is not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.answers import compare_answers
from llm_perf_opt.analysis.comparison import Judging, compare_figure, compare_figures
from llm_perf_opt.analysis.statistics import summarize, unmeasured
from llm_perf_opt.analysis.verdict import AT_DIFFERENT_TIMES, judge, judge_blocks
from llm_perf_opt.records.comparison import FigureChange
from llm_perf_opt.records.inputs import Sample
from llm_perf_opt.records.metrics import Metric

SIDE = st.lists(st.lists(st.floats(0.1, 1e4), min_size=1, max_size=4), min_size=1, max_size=6)


def launches(*values: Sequence[float], unit: str = "ms") -> Metric:
    """A figure with these repeats, launch by launch, of one batch."""
    samples = [sample for launch in values for sample in launch]
    numbers = [number for number, launch in enumerate(values) for _ in launch]
    return summarize(unit, samples, None, [0] * len(samples), numbers)


def medians(*values: float, unit: str = "ms") -> Metric:
    return launches(*([value] for value in values), unit=unit)


def change(a: Metric, b: Metric, **options: Any) -> FigureChange:
    return compare_figure("x", [a], [b], **options).change


@given(SIDE, SIDE)
def test_the_verdict_is_that_of_the_launches_medians(a: list[list[float]], b: list[list[float]]) -> None:
    found = change(launches(*a), launches(*b))
    expected = judge(list(launches(*a).launch_medians), list(launches(*b).launch_medians))
    assert (found.outcome, found.reason) == (expected.outcome, expected.reason)
    assert found.change_percent == expected.change_percent
    assert found.replicates == (len(a), len(b))


@given(SIDE, SIDE, st.integers(2, 5))
def test_more_repeats_of_a_launch_are_no_more_evidence(a: list[list[float]], b: list[list[float]], times: int) -> None:
    more = [launches(*([*values * times] for values in side)) for side in (a, b)]
    once, again = change(launches(*a), launches(*b)), change(*more)
    assert (once.outcome, once.change_percent_interval) == (again.outcome, again.change_percent_interval)


def test_one_launch_a_side_has_no_verdict_however_many_repeats() -> None:
    found = change(launches([1.0] * 99), launches([2.0] * 99))
    assert (found.outcome, found.change_percent_interval) == ("cannot tell", None)
    assert found.change_percent == pytest.approx(100)


def test_within_a_launch_the_repeats_are_judged() -> None:
    a, b = launches([1.0, 1.01, 1.02, 1.03, 1.04]), launches([2.0, 2.1, 2.2, 2.3, 2.4])
    found = change(a, b, replicate="repeat")
    assert (found.outcome, found.replicates) == ("slower", (5, 5))


def test_each_run_is_one_block_whatever_its_launches() -> None:
    runs = [medians(10.0 + i / 100, 10.1, 10.2) for i in range(5)]
    slower = [medians(20.0 + i / 100, 20.1, 20.2) for i in range(5)]
    found = compare_figure("x", runs, slower, replicate="block").change
    assert (found.outcome, found.replicates) == ("slower", (5, 5))
    values = [[list(metric.launch_medians) for metric in side] for side in (runs, slower)]
    assert found.change_percent == judge_blocks(*values).change_percent
    few = compare_figure("x", runs[:4], slower, replicate="block").change
    assert few.outcome == "cannot tell"
    assert AT_DIFFERENT_TIMES in str(few.reason)
    assert few.needed is not None
    assert few.needed.count >= 5


def test_a_look_sees_its_launches_and_no_others() -> None:
    a, b = medians(*[10.0] * 5, 99.0), medians(*[20.0, 20.1, 20.2, 20.3, 20.4], 0.5)
    assert change(a, b, how=Judging(launches=5)).outcome == "slower"
    early = change(a, b, how=Judging(launches=5, too_early="no look yet"))
    assert (early.outcome, early.reason) == ("cannot tell", "no look yet")


@pytest.mark.parametrize(("unit", "better"), [("ms", "lower"), ("tokens/s", "higher"), ("ratio", "higher")])
def test_which_way_is_better(unit: str, better: str) -> None:
    low, high = medians(1.0, 1.01, 1.02, 1.03, unit=unit), medians(2.0, 2.01, 2.02, 2.03, unit=unit)
    assert change(low, high).better == better
    assert change(low, high).outcome == ("faster" if better == "higher" else "slower")
    assert change(high, low).outcome == ("faster" if better == "lower" else "slower")


def test_constant_times_are_the_same_and_zeros_have_no_percentage() -> None:
    assert change(medians(*[5.0] * 4), medians(*[5.0] * 4)).outcome == "same"
    found = change(medians(*[0.0] * 4), medians(*[1.0] * 4))
    assert (found.outcome, found.change_percent, found.difference) == ("slower", None, 1.0)


@pytest.mark.parametrize("odd", [-1.0, float("nan"), float("inf")])
def test_what_no_clock_gives_is_said_and_not_judged(odd: float) -> None:
    found = change(medians(1.0, 1.0, 1.0, odd), medians(*[1.0] * 4))
    assert found.outcome == "unknown"
    assert "no measured amount" in str(found.reason)


@given(st.floats(1e-300, 1e300), st.floats(1e-300, 1e300))
def test_any_interval_goes_into_json_and_back(a: float, b: float) -> None:
    found = change(medians(a, b), medians(b, a))
    assert FigureChange.model_validate_json(found.model_dump_json()).outcome == found.outcome


def counted(*values: float, note: str = "CUDA allocator") -> Metric:
    return summarize("bytes", values, note, (), range(len(values)) if len(values) > 1 else ())


def test_bytes_that_every_launch_counted_alike_are_compared_by_value() -> None:
    assert change(counted(100.0), counted(105.0)).outcome == "more"
    assert change(counted(100.0, 100.0), counted(100.0, 100.0)).outcome == "equal"
    assert change(counted(100.0, 101.0, 102.0, 103.0), counted(100.0, 100.0, 100.0, 100.0)).outcome == "cannot tell"
    found = change(counted(100.0), counted(105.0, note="another"))
    assert found.outcome == "unknown"
    assert "not the same quantity" in str(found.reason)


def test_a_resident_set_of_one_launch_is_no_count() -> None:
    resident = [counted(value, note="resident set of the child") for value in (100.0, 105.0)]
    assert change(*resident).outcome == "cannot tell"


def test_what_was_not_measured_is_not_compared() -> None:
    known, unknown = medians(*[1.0] * 4), unmeasured("ms", "no GPU")
    for a, b, side in ((known, unknown, "B"), (unknown, known, "A"), (unknown, unknown, "A")):
        found = change(a, b)
        assert (found.change_percent, found.difference, found.outcome) == (None, None, "unknown")
        assert found.reason == f"not measured in {side}: no GPU"


def test_other_batches_and_other_work_are_not_compared() -> None:
    two = summarize("ms", [1.0, 2.0], None, [0, 1])
    assert "same batches" in str(change(medians(1.0), two).reason)
    (found,) = compare_figures(
        [{"x": medians(1.0)}], [{"x": medians(2.0)}], replicate="launch", how=Judging(), different="different work: why"
    ).values()
    assert (found.change.a.median, found.change.b.median) == (1.0, 2.0)
    assert (found.values, found.change.reason) == (None, "different work: why")


SAMPLES = [Sample(kind="prompt", path=None, text=name, size_bytes=1, sha256=name * 64) for name in "abc"]


def test_answers_are_told_apart_sample_by_sample_at_the_first_token() -> None:
    a = {0: (1, 2, 3), 1: (1, 2, 3), 2: (9,)}
    found = compare_answers([a], [{0: (1, 2, 3), 1: (1, 7, 3), 2: (9, 9)}], SAMPLES)
    assert (found.relation, found.samples, found.differing) == ("different", 3, 2)
    assert [(item.sample, item.position, item.token_a, item.token_b) for item in found.differences] == [
        (1, 1, 2, 7),
        (2, 1, None, 9),
    ]
    assert compare_answers([a], [a], SAMPLES).relation == "same"
    assert compare_answers([a], [{}], SAMPLES).relation == "unknown"


def test_a_model_that_varies_is_not_called_different_for_that() -> None:
    assert compare_answers([{0: (1,)}, {0: (2,)}], [{0: (2,)}], SAMPLES).relation == "same"
