"""`comparison.json` of two captures of which one at least was imported: tables side by side, without a verdict.

Each side is one recording, so nothing says how much of a change is chance.
"""

from __future__ import annotations

from typing import Literal

from llm_perf_opt.records.base import Record


class CaptureIdentity(Record):
    """One side."""

    path: str
    name: str
    """What the run is called."""
    stage: str
    sources: tuple[str, ...]
    """The files that were analysed, added up."""
    tool: str | None
    gpus: tuple[str | None, ...]


class TimeChange(Record):
    """A row of both captures; 0 where one has none of it."""

    phase: str | None
    """None where rows are not told apart by phase."""
    name: str
    calls_a: int
    calls_b: int
    time_ns_a: int
    time_ns_b: int
    share_a: float | None
    """Of the time of all rows of its table in A; None of none."""
    share_b: float | None

    @property
    def change_ns(self) -> int:
        return self.time_ns_b - self.time_ns_a


class PartChange(Record):
    """Where the time of all devices of a capture went."""

    name: str
    time_ns_a: int
    time_ns_b: int
    share_a: float | None
    """Of the wall time."""
    share_b: float | None


class RateChange(Record):
    """Time of a step of one kind: what can be compared where captures hold different numbers of steps."""

    name: str
    steps_a: int
    steps_b: int
    median_ns_a: int
    median_ns_b: int
    mean_ns_a: int
    mean_ns_b: int
    change_percent: float | None
    """Of the mean, B against A."""


class CaptureTable(Record):
    """Rows by falling change, the first of them."""

    kind: Literal["kernels", "operators on the device", "operators on the host", "ranges"]
    by_short_name: bool = False
    """The captures are of different tools, which spell kernels differently."""
    rows: tuple[TimeChange, ...]
    rows_left_out: int


class CaptureComparison(Record):
    """Everything that `llmperf compare` says of two captures."""

    schema_version: Literal[1] = 1
    a: CaptureIdentity
    b: CaptureIdentity
    verdict: None = None
    """There is none without repeats."""
    reason: str
    """Why there is none."""
    parts: tuple[PartChange, ...]
    rates: tuple[RateChange, ...]
    tables: tuple[CaptureTable, ...]
    notes: tuple[str, ...]
