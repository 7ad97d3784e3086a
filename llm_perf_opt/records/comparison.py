"""`comparison.json`: two runs side by side, and what the gates on their differences say.

A is the run that was there before, B the one that is judged. A change is B against A: +5 is 5 % more than A.
"""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from llm_perf_opt.records.base import Record

Verdict = Literal["better", "worse", "no change shown", "less", "more", "equal", "unknown"]
"""Of a figure of B: `better` and `worse` only where the whole interval lies on that side of no change; `less`, `more`
and `equal` of a count, one value a run, of which no interval says how much of it is chance."""
WorkRelation = Literal["same", "comparable", "different"]
GateOutcome = Literal["crossed", "passed", "inconclusive"]
GateMeasure = Literal["change_percent", "difference", "value"]
"""What a gate limits: the change of B against A in percent or in the figure's unit, or B's own value."""


class Difference(Record):
    """One setting or fact that is not the same in both runs."""

    name: str
    """Dotted."""
    a: JsonValue
    """Null where it is null or absent."""
    b: JsonValue


class FigureOfRun(Record):
    """One figure of one run, as its `metrics.json` has it."""

    n: int
    median: float | None
    ci95: tuple[float, float] | None
    """Of the median."""
    reason: str | None
    """Why there is no median."""


class FigureChange(Record):
    """One figure of both runs and how it changed."""

    name: str
    unit: str
    better: Literal["lower", "higher"]
    """Which way is an improvement."""
    a: FigureOfRun
    b: FigureOfRun
    change_percent: float | None = None
    """Hodges–Lehmann estimate of the ratio B / A within batches, less 1; not the ratio of the medians."""
    change_percent_ci95: tuple[float, float] | None = None
    difference: float | None = None
    """B less A, in `unit`, estimated the same way."""
    difference_ci95: tuple[float, float] | None = None
    verdict: Verdict = "unknown"
    reason: str | None = None
    """Why there is no change, or no interval."""
    percent_reason: str | None = None
    """Why there is no percentage though there is a difference."""


class WorkComparison(Record):
    """Whether a stage did in both runs what may be compared."""

    relation: WorkRelation
    """`same`: equal fingerprints. `comparable`: the same inputs, prompt tokens and new tokens in every batch."""
    reason: str | None = None
    """Why it is different work."""
    differences: tuple[Difference, ...] = ()
    """Facts of the model, its execution and its device."""
    rates: bool = False
    """Of different work: the same inputs made other numbers of tokens, so that times of a token can be compared."""


class StageComparison(Record):
    """One stage of both runs."""

    stage: str
    work: WorkComparison
    remarks: tuple[str, ...] = ()
    """What to know of either run's figures: that its GPU was throttled, that samples failed."""
    figures: tuple[FigureChange, ...]


class GateResult(Record):
    """One `--fail-if` and what became of it."""

    expression: str
    """As it was written."""
    stage: str
    figure: str
    measure: GateMeasure
    operator: Literal["<", ">"]
    limit: float
    unit: str
    """Of `limit` and of what was found: `%`, or the figure's own."""
    found: float | None = None
    """What was held against the limit; null where there was nothing."""
    found_ci95: tuple[float, float] | None = None
    """What decides; null for a count, which is decided by its value, and where there is no interval."""
    outcome: GateOutcome
    reason: str
    """Why it ended so."""


class SelfTimeChange(Record):
    """An operator or a kernel in one phase of the profiled sample."""

    phase: str
    name: str
    calls_a: int
    calls_b: int
    self_ms_a: float
    """0 where this run did not call it."""
    self_ms_b: float

    @property
    def change_ms(self) -> float:
        return self.self_ms_b - self.self_ms_a


class Profiles(Record):
    """What changed most between the profiled samples; profiled times, which no gate is held against."""

    operators: tuple[SelfTimeChange, ...] = ()
    """Self time on the host."""
    operators_on_device: tuple[SelfTimeChange, ...] = ()
    """Time of what they launched; never added to the other."""
    kernels: tuple[SelfTimeChange, ...] = ()
    reason: str | None = None
    """Why nothing is compared."""


class RunIdentity(Record):
    """Which run it is."""

    path: str
    experiment: str
    created: str
    llmperf_version: str


class Comparison(Record):
    """Everything `llmperf compare` found."""

    schema_version: Literal[1] = 1
    a: RunIdentity
    b: RunIdentity
    verdict: str
    """One sentence on the headline stage."""
    headline_stage: str
    """The stage that the verdict, and gates that name none, are about."""
    gates: tuple[GateResult, ...]
    stages: tuple[StageComparison, ...]
    config: tuple[Difference, ...]
    """Settings."""
    environment: tuple[Difference, ...]
    """Machine, system, library versions, variables, llmperf."""
    inputs: tuple[Difference, ...]
    """Samples, by their digests."""
    profiles: Profiles
