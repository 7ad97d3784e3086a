"""Figures over several launches: both spreads, the interval over launches, one number a launch."""

from __future__ import annotations

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.launches import launch_values, over_launches, repeat_values
from llm_perf_opt.analysis.metrics import FIGURES, STOOD_STILL, stage_metrics
from llm_perf_opt.analysis.statistics import launch_interval, median_interval, summarize, unmeasured
from llm_perf_opt.records.metrics import Metric, Metrics
from tests.records import NO_PEAKS, NOT_WATCHED, batch, repeat, work, workload


def metrics(metric: Metric) -> Metrics:
    return Metrics(stage="s", work_fingerprint="f", metrics={"x": metric})


def pooled(*launches: list[float]) -> Metric:
    found = [
        (number, metrics(summarize("ms", values, None, [0] * len(values)))) for number, values in enumerate(launches)
    ]
    return over_launches(found).metrics["x"]


def test_within_and_between_are_kept_apart() -> None:
    found = pooled([10.0, 12.0], [20.0, 22.0], [30.0, 32.0])
    assert found.launch_medians == (11.0, 21.0, 31.0)
    assert found.std_between_launches == pytest.approx(10.0)
    assert found.std_within_launches == pytest.approx(math.sqrt(2.0))
    assert found.launches == (0, 0, 1, 1, 2, 2)
    assert found.ci95_over == "medians of launches"


@given(st.lists(st.lists(st.floats(1.0, 1e4), min_size=2, max_size=5), min_size=2, max_size=9))
def test_the_interval_is_of_launches_however_many_repeats_there_are(launches: list[list[float]]) -> None:
    medians = [statistics.median(values) for values in launches]
    assert pooled(*launches).ci95 == launch_interval(medians)
    assert pooled(*[values * 3 for values in launches]).ci95 == launch_interval(medians)


@given(st.lists(st.floats(1.0, 1e4), min_size=2, max_size=12))
def test_few_launches_have_the_t_interval_of_logarithms_and_many_the_exact_one(medians: list[float]) -> None:
    found = launch_interval(medians)
    assert found is not None
    if len(medians) >= 6:
        assert found == median_interval(medians)
    else:
        assert found[0] <= statistics.geometric_mean(medians) * (1 + 1e-9)
        assert found[1] >= statistics.geometric_mean(medians) * (1 - 1e-9)


def test_one_launch_says_that_its_interval_is_its_own() -> None:
    (found,) = over_launches([(0, metrics(summarize("ms", [1.0, 2, 3, 4, 5, 6], None, [0] * 6)))]).metrics.values()
    assert found.ci95_over == "repeats within one launch"
    assert found.std_between_launches is None


def test_what_one_launch_could_not_measure_is_not_measured() -> None:
    found = over_launches([(0, metrics(summarize("ms", [1.0]))), (3, metrics(unmeasured("ms", "no counter")))])
    assert found.metrics["x"].reason == "launch 3: no counter"


def test_each_batch_counts_alike_in_what_a_launch_gives() -> None:
    metric = summarize(
        "ms", [1.0, 1.0, 100.0, 100.0, 2.0, 2.0, 200.0, 200.0], None, [0, 0, 1, 1] * 2, [0] * 4 + [1] * 4
    )
    assert launch_values(metric) == pytest.approx([10.0, 20.0])
    single = summarize("ms", [1.0, 2.0, 100.0, 200.0], None, [0, 0, 1, 1])
    assert repeat_values(single) == pytest.approx([10.0, 20.0])


@pytest.mark.parametrize("e2e_ms", [50.0, 40.0])
def test_a_clock_that_stands_still_or_goes_back_gives_no_rate(e2e_ms: float) -> None:
    record = workload(batch(repeat(e2e_ms=e2e_ms)))
    found = stage_metrics(record, NOT_WATCHED, work(), NO_PEAKS).metrics
    assert found["decode.tokens_per_s"].reason == found["decode.tpot_ms"].reason == STOOD_STILL
    assert found["ttft_ms"].median == 50.0
    assert tuple(found) == FIGURES
