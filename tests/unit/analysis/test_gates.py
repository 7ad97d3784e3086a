"""Limits on a comparison: read, refused, decided."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.comparison import Judging, compare_figure
from llm_perf_opt.analysis.gates import Gate, check_names, decide_gates, parse_gate, same_output
from llm_perf_opt.analysis.statistics import summarize, unmeasured
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.records.comparison import Answers, GateResult, Replicate, StageComparison, WorkComparison
from llm_perf_opt.records.metrics import Metric

SAME = WorkComparison(relation="same")
SAID = Answers(relation="same", samples=1, differing=0)


def metric(*values: float) -> Metric:
    """One repeat a launch."""
    return summarize("ms", values, None, [0] * len(values), range(len(values)))


def all_judged(
    expressions: list[str],
    a: Metric,
    b: Metric,
    work: WorkComparison = SAME,
    *,
    replicate: Replicate = "launch",
    how: Judging = Judging(),  # noqa: B008
) -> tuple[GateResult, ...]:
    figure = compare_figure("ttft_ms", [a], [b], replicate=replicate, how=how, different=work.reason)
    stage = StageComparison(stage="torch_profiler", work=work, figures=(figure.change,), answers=SAID)
    gates = [parse_gate(expression) for expression in expressions]
    figures = {"torch_profiler": {"ttft_ms": figure}}
    return decide_gates(gates, "torch_profiler", {"torch_profiler": stage}, figures, replicate=replicate, how=how)


def judged(expression: str, a: Metric, b: Metric, work: WorkComparison = SAME) -> GateResult:
    (found,) = all_judged([expression], a, b, work)
    return found


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
    ],
)
def test_a_gate_is_decided_by_a_one_sided_test(expression: str, outcome: str) -> None:
    found = judged(expression, A, B)
    assert found.outcome == outcome
    assert found.test == "exact rank test"
    if found.measure == "difference":
        assert (found.found, found.unit) == (10.0, "ms")


def test_three_launches_decide_one_gate_and_not_four_together() -> None:
    a, b = metric(1.0, 1.1, 1.2), metric(2.0, 2.1, 2.2)
    assert judged("ttft_ms > +5%", a, b).outcome == "crossed"
    for found in all_judged(["ttft_ms > +5%"] * 4, a, b):
        assert (found.outcome, found.replicates_needed) == ("inconclusive", 5)
        assert "5 a side can" in found.reason


def test_repeats_of_one_launch_decide_only_where_they_were_asked_for() -> None:
    a, b = (summarize("ms", [value + i / 10 for i in range(5)], None, [0] * 5) for value in (1.0, 2.0))
    assert judged("ttft_ms > +5%", a, b).outcome == "inconclusive"
    (found,) = all_judged(["ttft_ms > +5%"], a, b, replicate="repeat")
    assert found.outcome == "crossed"


def test_two_blocks_decide_nothing() -> None:
    (found,) = all_judged(["ttft_ms > +5%"], A, B, replicate="block")
    assert found.outcome == "inconclusive"
    assert "measured at different times" in found.reason


def test_before_its_first_look_an_ab_decides_nothing() -> None:
    (found,) = all_judged(["ttft_ms > +5%"], A, B, how=Judging(too_early="the time budget was spent"))
    assert (found.outcome, found.reason) == ("inconclusive", "the time budget was spent")


SIX = metric(10.0, 11.0, 12.0, 13.0, 14.0, 15.0)


@pytest.mark.parametrize(
    ("expression", "outcome"),
    [
        ("ttft_ms > 9", "crossed"),
        ("ttft_ms > 16", "passed"),
        ("ttft_ms > 12", "inconclusive"),
        ("ttft_ms < 16", "crossed"),
    ],
)
def test_a_limit_without_a_sign_is_on_b_alone(expression: str, outcome: str) -> None:
    found = judged(expression, A, SIX)
    assert (found.outcome, found.found, found.test) == (outcome, 12.5, "exact sign test")


def test_too_few_launches_are_inconclusive_with_the_number_that_would_do() -> None:
    found = judged("ttft_ms > 9", A, B)
    assert (found.outcome, found.found, found.replicates_needed) == ("inconclusive", 111.5, 5)


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
    assert (found.outcome, found.test) == (outcome, None)


def test_the_output_is_a_gate_of_its_own() -> None:
    different = Answers(relation="different", samples=4, differing=1)
    unknown = Answers(relation="unknown", reason="A holds no output ids")
    assert [same_output("s", item).outcome for item in (SAID, different, unknown)] == [
        "passed",
        "crossed",
        "inconclusive",
    ]
    assert isinstance(parse_gate("ttft_ms > 1"), Gate)
