"""Limits on a comparison: read, refused, decided."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.comparison import compare_figure
from llm_perf_opt.analysis.gates import check_names, decide, parse_gate
from llm_perf_opt.analysis.statistics import summarize, unmeasured
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.records.comparison import GateResult, StageComparison, WorkComparison
from llm_perf_opt.records.metrics import Metric

SAME = WorkComparison(relation="same")


def metric(*samples: float) -> Metric:
    return summarize("ms", samples, None, [0] * len(samples))


def judged(expression: str, a: Metric, b: Metric, work: WorkComparison = SAME) -> GateResult:
    figure = compare_figure("ttft_ms", a, b, work.reason)
    stage = StageComparison(stage="torch_profiler", work=work, figures=(figure,))
    return decide(parse_gate(expression), "torch_profiler", [stage])


@pytest.mark.parametrize(
    ("expression", "stage", "operator", "measure", "limit"),
    [
        ("ttft_ms > +5%", None, ">", "change_percent", 5.0),
        ("ttft_ms>+5 %", None, ">", "change_percent", 5.0),
        ("  direct_inference : ttft_ms < -2.5%  ", "direct_inference", "<", "change_percent", -2.5),
        ("ttft_ms > +20", None, ">", "difference", 20.0),
        ("ttft_ms < -20", None, "<", "difference", -20.0),
        ("ttft_ms > 500", None, ">", "value", 500.0),
        ("ttft_ms<.5", None, "<", "value", 0.5),
        ("ttft_ms > +0%", None, ">", "change_percent", 0.0),
    ],
)
def test_the_grammar(expression: str, stage: str | None, operator: str, measure: str, limit: float) -> None:
    gate = parse_gate(expression)
    assert (gate.stage, gate.figure, gate.operator, gate.measure, gate.limit) == (
        stage,
        "ttft_ms",
        operator,
        measure,
        limit,
    )
    assert gate.expression == expression


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("ttft_ms", "has no > or <"),
        ("", "has no > or <"),
        ("1 < ttft_ms < 2", "more than one > or <"),
        ("ttft_ms >= 5", "'= 5' is no amount"),
        ("ttft_ms > five", "'five' is no amount"),
        ("ttft_ms >", "'' is no amount"),
        ("ttft_ms > ٥", "is no amount"),
        ("ttft_ms > nan", "'nan' is no amount"),
        ("ttft_ms > 5%", "'5%' has no sign"),
        ("ttft_ms < -100%", "nothing can fall by 100 %"),
        ("> 5", "'' is no figure"),
        (":ttft_ms > 5", "':ttft_ms' is no figure"),
    ],
)
def test_a_wrong_limit_is_refused_with_the_part_and_an_example(expression: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_gate(expression)
    assert words in caught.value.message
    assert repr(expression) in caught.value.message
    assert caught.value.remedy


@given(st.text(max_size=30))
def test_any_text_is_a_limit_or_refused(text: str) -> None:
    try:
        assert parse_gate(text).expression == text
    except ConfigError as error:
        assert error.remedy


def test_unknown_names_are_answered_with_the_nearest() -> None:
    stages, figures = ("torch_profiler", "direct_inference"), ("ttft_ms", "decode.tpot_ms")
    check_names([parse_gate("direct_inference:ttft_ms > 5")], stages, figures)
    for expression, words in (
        ("decode.tpot > 5", "did you mean decode.tpot_ms?"),
        ("torch:ttft_ms>5", "torch_profiler?"),
    ):
        with pytest.raises(ConfigError, match="there is no") as caught:
            check_names([parse_gate(expression)], stages, figures)
        assert words in caught.value.remedy


# B takes 7 to 13 % longer, whatever is compared with what.
A, B = metric(100.0, 101.0, 102.0, 103.0), metric(110.0, 111.0, 112.0, 113.0)


@pytest.mark.parametrize(
    ("expression", "outcome"),
    [
        ("ttft_ms > +5%", "crossed"),
        ("ttft_ms > +20%", "passed"),
        ("ttft_ms > +10%", "inconclusive"),
        ("ttft_ms < +20%", "crossed"),
        ("ttft_ms < -5%", "passed"),
        ("ttft_ms < +10%", "inconclusive"),
        ("ttft_ms > +5", "crossed"),
        ("ttft_ms > +15", "passed"),
        ("ttft_ms > +10", "inconclusive"),
        ("ttft_ms < +7", "passed"),
        ("ttft_ms > +13", "passed"),
        ("ttft_ms > +7", "inconclusive"),
    ],
)
def test_a_gate_is_decided_by_the_whole_interval(expression: str, outcome: str) -> None:
    found = judged(expression, A, B)
    assert found.outcome == outcome
    if outcome == "inconclusive":
        assert "measure.repeats" in found.reason
        assert "both runs" in found.reason
    if found.measure == "difference":
        assert (found.found, found.found_ci95, found.unit) == (10.0, (7.0, 13.0), "ms")


SIX = metric(10.0, 11.0, 12.0, 13.0, 14.0, 15.0)


@pytest.mark.parametrize(
    ("expression", "outcome"),
    [
        ("ttft_ms > 9", "crossed"),
        ("ttft_ms > 15", "passed"),
        ("ttft_ms > 12", "inconclusive"),
        ("ttft_ms < 16", "crossed"),
    ],
)
def test_a_limit_without_a_sign_is_on_the_median_of_b(expression: str, outcome: str) -> None:
    found = judged(expression, A, SIX)
    assert (found.outcome, found.found, found.found_ci95) == (outcome, 12.5, (10.0, 15.0))


def test_fewer_than_six_runs_cannot_decide_a_limit_on_b() -> None:
    found = judged("ttft_ms > 9", A, B)
    assert (found.outcome, found.found, found.found_ci95) == ("inconclusive", 111.5, None)
    assert "takes six" in found.reason


def test_too_few_repeats_are_inconclusive_with_the_number_that_would_do() -> None:
    found = judged("ttft_ms > +5%", metric(1.0, 1.0, 1.0), metric(9.0, 9.0, 9.0))
    assert found.outcome == "inconclusive"
    assert "measure.repeats=4" in found.reason


def test_what_was_not_measured_is_inconclusive_with_its_reason() -> None:
    for expression in ("ttft_ms > +5%", "ttft_ms > +5", "ttft_ms > 5"):
        found = judged(expression, A, unmeasured("ms", "no GPU"))
        assert (found.outcome, found.found) == ("inconclusive", None)
        assert found.reason == "not measured in B: no GPU"


def test_different_work_is_inconclusive_even_for_a_limit_on_b_alone() -> None:
    other = WorkComparison(relation="different", reason="batch 0 made 5 new tokens in A, 6 in B")
    for expression in ("ttft_ms > +5%", "ttft_ms > +5", "ttft_ms > 5"):
        found = judged(expression, A, SIX, other)
        assert (found.outcome, found.found) == ("inconclusive", None)
        assert found.reason == "different work: batch 0 made 5 new tokens in A, 6 in B"


def test_a_stage_that_one_run_lacks_is_inconclusive() -> None:
    found = judged("direct_inference:ttft_ms > 5", A, SIX)
    assert (found.outcome, found.reason) == ("inconclusive", "direct_inference was not measured in both runs")


def test_a_percentage_of_zero_points_to_a_limit_in_the_unit() -> None:
    zero = metric(0.0, 0.0, 0.0, 0.0)
    found = judged("ttft_ms > +5%", zero, A)
    assert found.outcome == "inconclusive"
    assert "use a limit in ms" in found.reason
    assert judged("ttft_ms > +5", zero, A).outcome == "crossed"


@pytest.mark.parametrize(
    ("expression", "outcome"),
    [
        ("ttft_ms > +5%", "passed"),  # exactly at the limit is not beyond it
        ("ttft_ms > +4.9%", "crossed"),
        ("ttft_ms > +4", "crossed"),
        ("ttft_ms > 105", "passed"),
        ("ttft_ms < 106", "crossed"),
    ],
)
def test_a_count_is_decided_by_its_value(expression: str, outcome: str) -> None:
    found = judged(expression, summarize("bytes", [100.0]), summarize("bytes", [105.0]))
    assert (found.outcome, found.found_ci95) == (outcome, None)


def test_a_single_measurement_decides_nothing() -> None:
    for expression in ("ttft_ms > +5%", "ttft_ms > +1", "ttft_ms > 1"):
        found = judged(expression, summarize("J/token", [1.0]), summarize("J/token", [9.0]))
        assert found.outcome == "inconclusive"
        assert "no interval" in found.reason
