"""What would help: `advice` in `summary.json`, the most promising first."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from llm_perf_opt.records.base import Record

Share = Annotated[float, Field(ge=0, le=1)]


class AdviceFigure(Record):
    """A figure that a piece of advice rests on."""

    name: str
    value: float
    unit: str
    """`share` is of 1."""
    source: str
    """File below the run directory, and the fields of it that the figure was worked out of."""


class Saving(Record):
    """Amdahl's bound: the most that can be gained where a part of a whole takes its least time; never a prediction."""

    of: str
    """What of: the end-to-end time, or the time of the devices."""
    share: Share
    """Of it, what could go."""
    speedup: float | None
    """1 / (1 − share); null where all of it could go."""
    where: str
    """What is supposed of the part, in words."""


class Advice(Record):
    """One rule that fired."""

    rule: str
    """See docs/advice.md."""
    sentence: str
    change: str
    """In the configuration, or else."""
    figures: tuple[AdviceFigure, ...]
    """The first is the one that the rule fires on."""
    above: float
    """What the first figure has to be above."""
    evidence: tuple[str, ...]
    """Files below the run directory."""
    saving: Saving | None = None
    saving_reason: str | None = None
    """Why no bound is known."""
