"""What history reads of runs of any version, and what it makes of them.

Of a past run only what is asked for is read: keys that are not known here are left, so that records of other versions
can be read too.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from llm_perf_opt.records.base import Record
from llm_perf_opt.records.manifest import StageStatus
from llm_perf_opt.records.metrics import Metric

MarkKind = Literal["output", "execution", "software", "machine"]


class Past(Record):
    """Keys of other versions are left."""

    model_config = ConfigDict(extra="ignore")


class PastModel(Past):
    """As `ModelFacts`."""

    model_type: str
    parameters: int
    dtype: str
    weights: str
    weights_id: str
    attention: str | None = None
    config: dict[str, Any] = Field(default_factory=dict)


class PastDevice(Past):
    """As `DeviceFacts`."""

    device: str
    name: str
    torch_version: str | None = None
    transformers_version: str | None = None
    cuda_version: str | None = None


class PastRepeat(Past):
    """As `Repeat`."""

    new_tokens: tuple[int, ...] = ()


class PastBatch(Past):
    """As `BatchResult`."""

    samples: tuple[int, ...]
    prompt_tokens: tuple[int, ...]
    repeats: tuple[PastRepeat, ...] = ()


class PastRank(Past):
    """As `RankFacts`."""

    world_size: int


class PastWorkload(Past):
    """As `Workload`."""

    timings_only: bool = False
    work_fingerprint: str | None = None
    model: PastModel
    device: PastDevice
    rank: PastRank | None = None
    execution: str = "eager"
    cache: str = "dynamic"
    batches: tuple[PastBatch, ...]


class PastMetric(Metric):
    """As `Metric`."""

    model_config = ConfigDict(extra="ignore")


class PastMetrics(Past):
    """As `Metrics`."""

    throttled: bool | None = None
    metrics: dict[str, PastMetric]


class PastSample(Past):
    """As `Sample`."""

    sha256: str


class PastInputs(Past):
    """As `Inputs`."""

    samples: tuple[PastSample, ...]


class PastGpu(Past):
    """As `DetectedGpu`."""

    name: str
    uuid: str | None = None


class PastGpus(Past):
    """As `GpuInventory`."""

    gpus: tuple[PastGpu, ...] = ()
    driver_version: str | None = None


class PastEnvironment(Past):
    """As `EnvironmentRecord`."""

    os: str | None = None
    kernel: str | None = None
    cpu_model: str | None = None
    cpu_available_cores: int | None = None
    python_version: str | None = None
    gpus: PastGpus = PastGpus()


class PastFigure(Past):
    """One figure of `summary.json`."""

    unit: str
    median: float | None = None


class PastMeasured(Past):
    """One stage of `summary.json` that timed the model."""

    model: PastModel
    device: PastDevice
    timings_only: bool | None = None
    """Null in runs of llmperf 0.2 and before."""
    launches: int = 1
    metrics: dict[str, PastFigure] = Field(default_factory=dict)


class PastSummary(Past):
    """`summary.json`."""

    name: str
    measured: dict[str, PastMeasured] = Field(default_factory=dict)


class ListedFigure(Record):
    """The median of one figure; null where it was not measured."""

    unit: str
    median: float | None


class ListedRun(Record):
    """One run of the list."""

    path: str
    created: str
    """UTC, ISO 8601, by the clock of the machine."""
    status: Literal["running", "completed", "failed", "interrupted"]
    """`running` too where llmperf was killed."""
    stages: dict[str, StageStatus]
    name: str | None = None
    """The model, and the label that the run was given."""
    model_type: str | None = None
    dtype: str | None = None
    device: str | None = None
    stage: str | None = None
    """That the figures are of."""
    launches: int | None = None
    figures: dict[str, ListedFigure] = Field(default_factory=dict)
    reason: str | None = None
    """Why there are no figures."""


class NotRead(Record):
    """What was passed over."""

    path: str
    reason: str


class RunList(Record):
    """What `llmperf runs --json` prints."""

    schema_version: Literal[1] = 1
    runs: tuple[ListedRun, ...]
    """Newest first."""
    found: int
    """All runs; those beyond `--limit` are not in `runs`."""
    passed_over: tuple[NotRead, ...]


class TrendMark(Record):
    """Something besides the figures that is not as it was in the run before."""

    kind: MarkKind
    name: str
    before: str | None
    after: str | None


class TrendFigure(Record):
    """One figure of one run."""

    unit: str
    median: float | None = None
    interval: tuple[float, float] | None = None
    """Of 95 %."""
    interval_over: Literal["repeats within one launch", "medians of launches"] | None = None
    replicate: float | None = None
    """The one number of this run that steps are told from: the median of its launches."""
    reason: str | None = None
    """Why there is no value."""


class TrendPoint(Record):
    """One run of a series."""

    path: str
    created: str
    """UTC, ISO 8601, by the clock of the machine."""
    stage: str
    launches: int
    figures: dict[str, TrendFigure]
    marks: tuple[TrendMark, ...] = ()
    notes: tuple[str, ...] = ()
    """What to know of its figures: that launches failed, that the GPU was throttled, that the clock was set back."""


class TrendStep(Record):
    """Where a figure is clearly not what it was: a run is one block, and so one replicate."""

    figure: str
    point: int
    """Index of the first run after it."""
    outcome: Literal["faster", "slower"]
    """Of the runs after it; faster is better whatever the figure."""
    change_percent: float | None
    change_percent_interval: tuple[float, float | None] | None
    confidence: float | None
    method: str | None
    runs: tuple[int, int]
    """Before and after, that were compared."""


class TrendSeries(Record):
    """One model, weights, type, inputs and lengths."""

    id: str
    """Of what does not change in it."""
    name: str
    model_type: str
    parameters: int
    dtype: str
    weights_id: str
    samples: int
    prompt_tokens: tuple[int, ...]
    """Of every sample that was run, in order."""
    max_new_tokens: int | None
    points: tuple[TrendPoint, ...]
    """Oldest first."""
    steps: tuple[TrendStep, ...] = ()


class Trend(Record):
    """What `llmperf trend --json` prints, and `trend.json`."""

    schema_version: Literal[1] = 1
    figures: tuple[str, ...]
    tolerance_percent: float
    level: float
    """Two-sided, of all steps of one figure of one series together."""
    series: tuple[TrendSeries, ...]
    """That with the newest run first."""
    passed_over: tuple[NotRead, ...]
