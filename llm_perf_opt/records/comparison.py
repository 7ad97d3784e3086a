"""`comparison.json`: two runs, or two folders of runs, side by side, and what the gates on their differences say.

A is what was there before, B what is judged. A change is B against A: +5 is 5 % more than A.
"""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from llm_perf_opt.records.base import Record
from llm_perf_opt.records.machine import MachineComparison

FigureOutcome = Literal["faster", "slower", "same", "cannot tell", "less", "more", "equal", "unknown"]
"""Of a figure of B; `same` is within the tolerance; faster is better whatever the figure, slower is worse. `less`,
`more` and `equal` of a count, which is the same in every launch of a side; `unknown` where nothing is compared."""
Replicate = Literal["launch", "block", "repeat"]
"""What an interval is made over: launches of one block; blocks, each a run; repeats of one launch a side."""
WorkRelation = Literal["same", "comparable", "different"]
GateOutcome = Literal["crossed", "passed", "inconclusive"]
GateMeasure = Literal["change_percent", "difference", "value", "same_output"]
"""What a gate limits: the change of B against A in percent or in the figure's unit, B's own value, or the samples to
which B says something else than A."""


class Difference(Record):
    """One setting or fact that is not the same in both runs."""

    name: str
    """Dotted."""
    a: JsonValue
    """Null where it is null or absent."""
    b: JsonValue


class FigureOfSide(Record):
    """One figure of one side, as the `metrics.json` of its runs have it."""

    n: int
    """Observations: repeats of all batches, launches and runs."""
    median: float | None
    """Of several runs, of their medians."""
    reason: str | None
    """Why there is no median."""
    values: tuple[float, ...] = ()
    """One a replicate, in order; empty where nothing was compared."""


class Needed(Record):
    """How many replicates a side would decide."""

    count: int
    change_percent: float
    what: Literal["show", "confirm"]
    """Show a change of `change_percent`, or confirm that there is none as large."""


class FigureChange(Record):
    """One figure of both sides and how it changed."""

    name: str
    unit: str
    better: Literal["lower", "higher"]
    """Which way is an improvement."""
    a: FigureOfSide
    b: FigureOfSide
    outcome: FigureOutcome = "unknown"
    reason: str | None = None
    """What decided, or why nothing could."""
    replicates: tuple[int, int] | None = None
    """In A and in B; null where nothing was compared."""
    change_percent: float | None = None
    """Of B against A; null where there is none, or a value is 0."""
    change_percent_interval: tuple[float, float | None] | None = None
    """Null where too few replicates give none; its upper end is null where it is beyond any number."""
    confidence: float | None = None
    """That the interval keeps."""
    method: Literal["exact rank interval", "Welch on logarithms"] | None = None
    scatter_percent: float | None = None
    """Standard deviation from one replicate to the next, pooled over both sides."""
    smallest_change_percent: float | None = None
    """That so many replicates find in 8 of 10 cases."""
    needed: Needed | None = None
    """Only where the outcome is `cannot tell`."""
    difference: float | None = None
    """B less A in `unit`: the median of all differences of replicates."""


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


class AnswerDifference(Record):
    """Where what B said to one sample leaves what A said."""

    sample: int
    """Index into the samples of the inputs."""
    source: str
    position: int
    """Of the first output token that is not the same, from 0."""
    token_a: int | None
    """Null where A ended before."""
    token_b: int | None
    tokens_a: int
    """How many A said."""
    tokens_b: int


class Answers(Record):
    """Whether B said to every sample what A said, by output ids."""

    relation: Literal["same", "different", "unknown"]
    samples: int | None = None
    """How many were compared."""
    differing: int | None = None
    differences: tuple[AnswerDifference, ...] = ()
    """One a sample, in the order of the inputs."""
    reason: str | None = None
    """Why it is unknown."""


class StageComparison(Record):
    """One stage of both runs."""

    stage: str
    work: WorkComparison
    remarks: tuple[str, ...] = ()
    """What to know of either run's figures: that its GPU was throttled, that samples failed."""
    figures: tuple[FigureChange, ...]
    answers: Answers


class GateResult(Record):
    """One `--fail-if`, or `--require-same-output`, and what became of it."""

    expression: str
    """As it was written."""
    stage: str
    figure: str
    """Empty for the output."""
    measure: GateMeasure
    operator: Literal["<", ">"]
    limit: float
    unit: str
    """Of `limit` and of what was found: `%`, `samples`, or the figure's own."""
    found: float | None = None
    """What was seen; null where there was nothing."""
    outcome: GateOutcome
    reason: str
    """Why it ended so."""
    test: Literal["exact rank test", "exact sign test"] | None = None
    """One-sided; null where no test was needed or none could be made."""
    crossed_p: float | None = None
    """Adjusted for all gates of the comparison (Holm): the smallest level at which it is crossed."""
    passed_p: float | None = None
    replicates_needed: int | None = None
    """A side (for a limit on B itself, in B), with which so many gates can be decided at all; null where there are."""


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


class ExplainedPart(Record):
    """One operator, kernel or part of the device's time in the profiled samples."""

    name: str
    a_ms: float
    """Of A; per output token where the figure is. The mean of several profiled samples."""
    b_ms: float
    noise_ms: float | None
    """Standard error of the change, from the scatter of several profiled runs a side; null with one."""

    @property
    def change_ms(self) -> float:
        return self.b_ms - self.a_ms


class Split(Record):
    """The change of a profiled phase, part by part; parts, `unattributed_ms` and `profiling_ms` add up to the change of
    the figure."""

    of: Literal["time of the device", "operators on the host", "kernels"]
    parts: tuple[ExplainedPart, ...]
    """By falling change; all that differ."""
    unattributed_ms: float
    """Change of the profiled phase that is in none of them."""
    profiling_ms: float
    """Change of the figure less that of the profiled phase: what the profiler itself adds, and what one sample of the
    work does not hold."""


class Explanation(Record):
    """Where the change of a figure is."""

    figure: str
    a_ms: float
    """Unprofiled, as compared."""
    b_ms: float
    profiles: tuple[int, int]
    """Profiled runs of A and of B."""
    splits: tuple[Split, ...]
    """Each explains the whole; they are never added."""

    @property
    def change_ms(self) -> float:
        return self.b_ms - self.a_ms


class Profiles(Record):
    """What changed most between the profiled samples; profiled times, which no gate is held against."""

    operators: tuple[SelfTimeChange, ...] = ()
    """Self time on the host."""
    operators_on_device: tuple[SelfTimeChange, ...] = ()
    """Time of what they launched; never added to the other."""
    kernels: tuple[SelfTimeChange, ...] = ()
    explained: tuple[Explanation, ...] = ()
    """Of the time per output token and of prefill."""
    reason: str | None = None
    """Why nothing is compared."""


class RunIdentity(Record):
    """Which run it is."""

    path: str
    experiment: str
    created: str
    llmperf_version: str
    launches: int
    """Of the headline stage, those that were measured."""


class LookTaken(Record):
    """One planned look of an A/B."""

    launches: int
    """A side."""
    level: float
    """Two-sided, of this look alone."""
    outcome: FigureOutcome
    """Of the headline figure."""


class Comparison(Record):
    """Everything `llmperf compare` found."""

    schema_version: Literal[2] = 2
    a: tuple[RunIdentity, ...]
    """One run, or those of a folder."""
    b: tuple[RunIdentity, ...]
    verdict: str
    """One or two sentences on the headline figure."""
    headline_stage: str
    """The stage that the verdict, and gates that name none, are about."""
    headline_figure: str
    """Chosen before looking; the verdict is on this one."""
    outcome: FigureOutcome
    """Of the headline figure."""
    replicate: Replicate
    """What all intervals and gates are made over; `repeat` only with --within-launch."""
    level: float
    """Two-sided, of each verdict."""
    tolerance_percent: float
    looks: tuple[LookTaken, ...] = ()
    """Of an A/B: those that were taken."""
    gates: tuple[GateResult, ...]
    stages: tuple[StageComparison, ...]
    config: tuple[Difference, ...]
    """Settings."""
    environment: tuple[Difference, ...]
    """Machine, system, library versions, variables, llmperf."""
    inputs: tuple[Difference, ...]
    """Samples, by their digests."""
    machine: MachineComparison = MachineComparison()
    """Whether it was the same for both sides of the headline stage."""
    profiles: Profiles
