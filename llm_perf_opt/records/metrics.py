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
    """95 % confidence interval of the median; `ci95_over` says what it was made of."""
    ci95_over: Literal["repeats within one launch", "medians of launches"] | None = None
    """Within one launch from order statistics, null below six repeats; it says nothing of the next launch. Over
    launches from order statistics of their medians, below six by Student's t on the logarithms."""
    std_within_launches: float | None = None
    """Standard deviation of repeats of one batch in one launch, pooled; null where no batch was repeated."""
    std_between_launches: float | None = None
    """Of the launches' medians; null with one launch."""
    launch_medians: tuple[float, ...] = ()
    """Of each launch, in order; empty where nothing was measured."""
    samples: tuple[float, ...] = ()
    """In the order they were measured."""
    batches: tuple[int, ...] = ()
    """Batch of each sample, an index into the batches of `workload.json`; empty for a figure of the whole run."""
    launches: tuple[int, ...] = ()
    """Launch of each sample; empty where there was one."""
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
