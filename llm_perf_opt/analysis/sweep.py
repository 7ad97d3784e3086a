"""What a sweep is read by: how far a figure of a point is known, the Pareto front of latency against throughput."""

from __future__ import annotations

import math
import statistics
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from llm_perf_opt.analysis.statistics import CONFIDENCE, median_interval
from llm_perf_opt.analysis.student import t_quantile, variance


@dataclass(frozen=True, slots=True)
class Mark:
    """One point."""

    id: str
    work: Hashable
    """Points are held against those of equal work alone."""
    latency: float
    throughput: float


def on_front(marks: Sequence[Mark]) -> set[str]:
    """Ids of the points than which none of their work is better in one and at least as good in the other."""
    front: set[str] = set()
    for work in {mark.work for mark in marks}:
        best = float("-inf")
        same = sorted((mark for mark in marks if mark.work == work), key=lambda mark: (mark.latency, -mark.throughput))
        last: tuple[float, float] | None = None
        for mark in same:
            if mark.throughput > best or last == (mark.latency, mark.throughput):
                front.add(mark.id)
                best, last = mark.throughput, (mark.latency, mark.throughput)
    return front


def launch_interval(medians: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Interval of what a launch comes out at, from the median of each; None below two, or where one is not positive.

    Exact, from order statistics, where so many launches reach the confidence (from six on, for 95 %); else Student's t
    on logarithms, which takes these to be normal.
    """
    exact = median_interval(medians, confidence)
    if exact is not None:
        return exact
    if len(medians) < 2 or min(medians) <= 0:
        return None
    logs = [math.log(value) for value in medians]
    half = t_quantile((1 + confidence) / 2, len(logs) - 1) * math.sqrt(variance(logs) / len(logs))
    mean = statistics.fmean(logs)
    return math.exp(mean - half), math.exp(mean + half)
