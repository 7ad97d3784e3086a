"""`ab.json`: what an A/B was asked, so that it can be gone on with."""

from __future__ import annotations

from typing import Literal

from llm_perf_opt.records.base import Record


class PlannedLook(Record):
    """One look that was planned before anything ran."""

    launches: int
    """A side."""
    level: float
    """Two-sided, of this look alone."""


class AbRecord(Record):
    """Chosen before the first launch; nothing of it changes afterwards."""

    schema_version: Literal[1] = 1
    llmperf_version: str
    argv: tuple[str, ...]
    """The command line, secrets redacted."""
    created: str
    """UTC, ISO 8601."""
    stage: str
    """That times the model."""
    looks: tuple[PlannedLook, ...]
    figure: str
    """The headline."""
    tolerance_percent: float
    gates: tuple[str, ...] = ()
    require_same_output: bool = False
    prefix_a: tuple[str, ...] = ()
    """What A's commands begin with; secrets redacted."""
    prefix_b: tuple[str, ...] = ()
    time_budget_s: float | None = None
