"""`metrics.json`: the figures of one stage, with their statistics."""

from __future__ import annotations

from typing import Literal

from llm_perf_opt.records.base import Record


class Metric(Record):
    """One figure over all timed repeats; every value is null, with a reason, where it was not measured."""

    unit: str
    n: int
    median: float | None = None
    mean: float | None = None
    std: float | None = None
    """Sample standard deviation (n − 1); null below two samples."""
    p95: float | None = None
    """Linear interpolation between order statistics; the largest sample weighs most below twenty."""
    ci95: tuple[float, float] | None = None
    """95 % confidence interval of the median, from order statistics; null below six samples."""
    samples: tuple[float, ...] = ()
    """In the order they were measured."""
    batches: tuple[int, ...] = ()
    """Batch of each sample, an index into the batches of `workload.json`; empty for a figure of the whole run."""
    reason: str | None = None
    """Why there is no value."""
    note: str | None = None
    """What to know before quoting it."""


class Metrics(Record):
    """The figures of one stage."""

    schema_version: Literal[1] = 1
    stage: str
    work_fingerprint: str | None
    throttled: bool | None = None
    """Whether power, heat or another GPU held the clocks down during the timed repeats; null where not recorded."""
    metrics: dict[str, Metric]
