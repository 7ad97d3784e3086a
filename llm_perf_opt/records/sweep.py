"""What a sweep was asked, how each of its points ended, and the table of what they measured."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from llm_perf_opt.records.base import Record

Scalar = str | int | float | bool | None
PointStatus = Literal["open", "completed", "failed", "skipped"]
"""Open: not run yet, interrupted, or at work."""

LATENCY, THROUGHPUT = "e2e.latency_ms", "e2e.tokens_per_s"
"""What the front is of: the time a batch takes, and the tokens that it makes in that time."""
FIGURES = {
    "ttft_ms": "ms",
    "prefill.latency_ms": "ms",
    "decode.tpot_ms": "ms",
    "decode.tokens_per_s": "tokens/s",
    LATENCY: "ms",
    THROUGHPUT: "tokens/s",
    "prefill.mfu": "ratio",
    "decode.mbu": "ratio",
    "decode.mfu": "ratio",
    "memory.peak_bytes": "bytes",
    "energy.per_token_j": "J/token",
}
"""Figures of the table and their units; what they are is in `metrics.json` of each run."""


class SweepPoint(Record):
    """One point that was asked for."""

    id: str
    """Of its resolved configuration and work; the name of its run directory."""
    settings: dict[str, Scalar]
    """Key → value of everything that is swept, as YAML reads it."""
    group: str
    """The same for points that differ in their batch alone."""
    batch: int


class SweepRequest(Record):
    """`sweep.json`."""

    schema_version: Literal[1] = 1
    llmperf_version: str
    argv: tuple[str, ...]
    """The command line that asked last, secrets redacted."""
    launches: int
    points: tuple[SweepPoint, ...]


class PointEnd(Record):
    """How a launch of a point ended, where its run directory does not say so."""

    reason: str
    remedy: str | None = None
    exit_code: int
    out_of_memory: bool = False


class Figure(Record):
    """One figure of one point."""

    unit: str
    value: float | None
    """Median of the launch medians."""
    low: float | None = None
    high: float | None = None
    """95 % interval: see `interval`."""
    interval: Literal["launches", "within one launch"] | None = None
    """What the interval is over; null where there is none."""
    launches: tuple[float, ...] = ()
    """The median of each launch, in order."""
    reason: str | None = None
    """Why there is no value."""


class Bound(Record):
    """The least time that the hardware's peaks allow; null with a reason."""

    value_ms: float | None
    reason: str | None = None


class PointResult(Record):
    """One row of the table."""

    id: str
    settings: dict[str, Scalar]
    status: PointStatus
    reason: str | None = None
    remedy: str | None = None
    runs: tuple[str, ...] = ()
    """Run directories of its launches, relative to the sweep's."""
    launches: int = 0
    """That were measured."""
    stage: str | None = None
    """That timed the model."""
    device: str | None = None
    prompt_tokens: int | None = None
    """Length of the padded prompt of the first batch."""
    new_tokens: int | None = None
    """Of its longest row."""
    figures: dict[str, Figure] = Field(default_factory=dict)
    bounds: dict[str, Bound] = Field(default_factory=dict)
    """Figure → what static analysis and the peaks allow at best."""
    on_front: bool | None = None
    """Whether no other point of the same lengths has both less latency and more throughput; null if not measured."""


class SweepResults(Record):
    """`results.json`."""

    schema_version: Literal[1] = 1
    keys: tuple[str, ...]
    """What is swept, in order."""
    launches: int
    points: tuple[PointResult, ...]
    notes: tuple[str, ...] = ()
