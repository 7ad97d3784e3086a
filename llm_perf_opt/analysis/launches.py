"""Figures of several launches of one stage as one."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from llm_perf_opt.analysis.statistics import grouped, summarize, unmeasured
from llm_perf_opt.records.metrics import Metric, Metrics


def over_launches(launches: Sequence[tuple[int, Metrics]]) -> Metrics:
    """The figures of all launches, (number, its own figures) in order; those of one launch as they are.

    A figure that a launch could not measure is not measured: the reason names the launch.
    """
    (_, first), *others = launches
    if not others:
        return first
    throttled = [metrics.throttled for _, metrics in launches]
    fingerprints = {metrics.work_fingerprint for _, metrics in launches}
    return Metrics(
        stage=first.stage,
        work_fingerprint=first.work_fingerprint if len(fingerprints) == 1 else None,
        throttled=True if any(throttled) else None if None in throttled else False,
        metrics={
            name: _pooled([(number, metrics.metrics[name]) for number, metrics in launches]) for name in first.metrics
        },
    )


def _pooled(launches: Sequence[tuple[int, Metric]]) -> Metric:
    _, first = launches[0]
    missing = [(number, metric.reason) for number, metric in launches if metric.median is None]
    if missing:
        reasons = {reason for _, reason in missing}
        if len(missing) == len(launches) and len(reasons) == 1:
            return unmeasured(first.unit, str(missing[0][1]))
        return unmeasured(first.unit, f"launch {missing[0][0]}: {missing[0][1]}")
    return summarize(
        first.unit,
        [sample for _, metric in launches for sample in metric.samples],
        "; ".join(dict.fromkeys(metric.note for _, metric in launches if metric.note)) or None,
        [batch for _, metric in launches for batch in metric.batches],
        [number for number, metric in launches for _ in metric.samples],
    )


def launch_values(metric: Metric) -> list[float]:
    """One number a launch, of which verdicts are made: the median of the repeats of each batch, of which the geometric
    mean, so that each batch counts alike. 0 where a batch's is; of negative values, which are no measured amounts, the
    least."""
    if len(set(metric.batches)) < 2:
        return list(metric.launch_medians)
    launches = metric.launches or (0,) * len(metric.samples)
    by_launch: dict[int, list[float]] = {}
    for (launch, _), values in grouped(metric.samples, list(zip(launches, metric.batches, strict=True))).items():
        by_launch.setdefault(launch, []).append(statistics.median(values))
    return [centre(medians) for medians in by_launch.values()]


def repeat_values(metric: Metric) -> list[float]:
    """One number a repeat of one launch: of the i-th repeat of every batch the geometric mean."""
    batches = list(grouped(metric.samples, metric.batches).values()) if metric.batches else [list(metric.samples)]
    return [centre(values) for values in zip(*batches, strict=False)]


def centre(values: Sequence[float]) -> float:
    """The geometric mean; the least value where one is not above 0."""
    if len(values) == 1 or min(values) <= 0:
        return min(values)
    return math.exp(statistics.fmean(map(math.log, values)))
