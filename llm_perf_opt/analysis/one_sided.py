"""Limits of a merge gate: each held by a one-sided test that is exact, several together adjusted.

Crossed and passed are two claims, each with its own hypothesis. Of all gates of one comparison, that any is called
crossed which is not has a chance of at most the level, and so has that any is called passed which is not: Holm's step
down (1979, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 6), which supposes nothing of
how the figures hang together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from llm_perf_opt.analysis.shift import lower_tail
from llm_perf_opt.analysis.verdict import AT_DIFFERENT_TIMES, BLOCKS_NEEDED, LEVEL, check, counted
from llm_perf_opt.records.comparison import GateMeasure, GateOutcome, Replicate

Test = Literal["exact rank test", "exact sign test"]


@dataclass(frozen=True)
class Limit:
    """One gate and what it is held against: one number a replicate."""

    operator: Literal["<", ">"]
    measure: GateMeasure
    limit: float
    """In percent of A, in the figure's unit, or of B itself, as `measure` says."""
    a: Sequence[float]
    b: Sequence[float]


@dataclass(frozen=True)
class Decision:
    """One gate, adjusted for all that were decided with it."""

    outcome: GateOutcome
    reason: str
    test: Test
    crossed_p: float
    """Adjusted: the smallest level of all gates at which this one is crossed."""
    passed_p: float
    replicates_needed: int | None
    """A side (for a limit on B itself, in B), with which so many gates can be decided at all; None where there are."""


@dataclass(frozen=True)
class _Family:
    """What is the same for all gates of one comparison."""

    gates: int
    level: float
    replicate: Replicate

    @property
    def share(self) -> float:
        """What the first of them to be decided must reach."""
        return self.level / self.gates


def decide_together(
    limits: Sequence[Limit], *, level: float = LEVEL, replicate: Replicate = "launch"
) -> tuple[Decision, ...]:
    """All gates of one comparison, in order.

    Raises:
        ValueError: a side is empty, or a value is negative or no number.
    """
    for limit in limits:
        check(limit.a, "A")
        check(limit.b, "B")
    crossed = holm([_p_value(limit, beyond=True) for limit in limits])
    passed = holm([_p_value(limit, beyond=False) for limit in limits])
    family = _Family(len(limits), level, replicate)
    return tuple(_decision(family, *one) for one in zip(limits, crossed, passed, strict=True))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: the i-th smallest of k times k − i + 1, never below the one before it."""
    adjusted, least = [0.0] * len(p_values), 0.0
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        least = max(least, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = least
    return adjusted


def replicates_needed(measure: GateMeasure, share: float) -> int:
    """The fewest a side with which the test of one gate can reach its share of the level."""
    count = 1
    while _smallest_p(measure, count, count) > share:
        count += 1
    return count


def _decision(family: _Family, limit: Limit, crossed_p: float, passed_p: float) -> Decision:
    outcome, reason, needed = _outcome(family, limit, crossed_p, passed_p)
    test: Test = "exact sign test" if limit.measure == "value" else "exact rank test"
    return Decision(outcome, reason, test, crossed_p, passed_p, needed)


def _outcome(family: _Family, limit: Limit, crossed_p: float, passed_p: float) -> tuple[GateOutcome, str, int | None]:
    had = (len(limit.b),) if limit.measure == "value" else (len(limit.a), len(limit.b))
    counts = counted(had, family.replicate)
    needed = replicates_needed(limit.measure, family.share)
    where = "in B" if limit.measure == "value" else "a side"
    if family.replicate == "block" and min(had) < BLOCKS_NEEDED:
        needed = max(needed, BLOCKS_NEEDED)
        return "inconclusive", f"{AT_DIFFERENT_TIMES}: {counts}, and {needed} {where} are needed", needed
    if crossed_p <= family.level:
        return "crossed", f"beyond the limit (p = {crossed_p:.2g}, adjusted for {family.gates})", None
    if passed_p <= family.level:
        return "passed", f"within the limit (p = {passed_p:.2g}, adjusted for {family.gates})", None
    if _smallest_p(limit.measure, len(limit.a), len(limit.b)) > family.share:
        gates = "this gate" if family.gates == 1 else f"{family.gates} gates together"
        return "inconclusive", f"{counts} cannot decide {gates}: {needed} {where} can", needed
    return "inconclusive", f"the limit is too near for {counts}", None


def _p_value(limit: Limit, *, beyond: bool) -> float:
    """Of the hypothesis that the figure is not beyond the limit, or not within it. Values at the limit speak for it."""
    upward = (limit.operator == ">") == beyond
    if limit.measure == "value":
        return _sign_tail(_against([limit.limit], limit.b, upward), len(limit.b))
    sizes = ((min(len(limit.a), len(limit.b)), max(len(limit.a), len(limit.b))),)
    return lower_tail(sizes, _against([_moved(limit, value) for value in limit.a], limit.b, upward))


def _moved(limit: Limit, value: float) -> float:
    """What B would have been at the limit: the hypothesis shifts A (Hollander, Wolfe and Chicken 2014, 4.1)."""
    if limit.measure == "change_percent":
        return value * (100 + limit.limit) / 100
    return value + limit.limit


def _against(at_limit: Sequence[float], b: Sequence[float], upward: bool) -> int:
    """Of all pairs, those that do not lie on the side that is to be shown."""
    return sum(1 for bound in at_limit for value in b if (value <= bound if upward else value >= bound))


def _sign_tail(against: int, count: int) -> float:
    """P(at most so many of `count` lie on one side of the median): Conover, Practical Nonparametric Statistics, 3.4."""
    return sum(math.comb(count, k) for k in range(against + 1)) * 0.5**count


def _smallest_p(measure: GateMeasure, a: int, b: int) -> float:
    """That of data which all lie on one side."""
    return 0.5**b if measure == "value" else 1 / math.comb(a + b, a)
