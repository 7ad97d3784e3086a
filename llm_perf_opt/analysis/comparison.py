"""How the figures of one stage changed between two sides, and on what that is decided."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from llm_perf_opt.analysis.launches import launch_values, repeat_values
from llm_perf_opt.analysis.shift import hodges_lehmann_shift
from llm_perf_opt.analysis.verdict import LEVEL, TOLERANCE_PERCENT, Better, Verdict, check, judge, judge_blocks
from llm_perf_opt.records.comparison import FigureChange, FigureOfSide, FigureOutcome, Needed, Replicate
from llm_perf_opt.records.metrics import Metric

HIGHER_IS_BETTER = frozenset({"tokens/s", "ratio"})
"""Units of figures of which more is better; times, bytes and joules are costs."""
COUNTED = "bytes"
"""The unit of what may be counted rather than timed: compared as it is where every launch of a side has the same."""
HEADLINE = "e2e.latency_ms"
RATES = ("decode.tpot_ms", "decode.tokens_per_s")
"""Figures of a token: sides that made different numbers of them can be compared by these alone."""

Values = tuple[list[float], list[float]]
"""One number a replicate, of A and of B."""


@dataclass(frozen=True)
class Judging:
    """What was chosen before looking."""

    figure: str = HEADLINE
    """The verdict is on this one."""
    tolerance_percent: float = TOLERANCE_PERCENT
    level: float = LEVEL
    within_launch: bool = False
    """Repeats of one launch a side stand for launches."""
    launches: int | None = None
    """Of each side, the first so many; None takes all."""
    too_early: str | None = None
    """Why nothing is decided, whatever the figures show; None where something may be."""
    machine: str | None = None
    """Why what the figures show is not B's; None where the machine was the same."""

    @property
    def undecided(self) -> str | None:
        return self.too_early or self.machine


AS_USUAL = Judging()


@dataclass(frozen=True)
class Judged:
    """One figure, and the numbers that gates are held against."""

    change: FigureChange
    values: Values | None
    """None where nothing may be compared."""

    @property
    def counted(self) -> bool:
        return self.change.outcome in ("less", "more", "equal")


class _Chosen(TypedDict):
    better: Better
    tolerance_percent: float
    level: float


def compare_figures(
    a: Sequence[Mapping[str, Metric]],
    b: Sequence[Mapping[str, Metric]],
    *,
    replicate: Replicate,
    how: Judging,
    different: str | None = None,
    rates: bool = False,
) -> dict[str, Judged]:
    """Every figure of one stage, in order.

    Args:
        a, b: the figures of each run of a side by name; all have all names, measured or not.
        different: why the sides did different work; None where they may be compared.
        rates: whether rates may be compared all the same.
    """
    return {
        name: compare_figure(
            name,
            [run[name] for run in a],
            [run[name] for run in b],
            replicate=replicate,
            how=how,
            different=None if rates and name in RATES else different,
        )
        for name in a[0]
    }


def compare_figure(
    name: str,
    a: Sequence[Metric],
    b: Sequence[Metric],
    *,
    replicate: Replicate = "launch",
    how: Judging = AS_USUAL,
    different: str | None = None,
) -> Judged:
    """One figure of both sides; what cannot be said is null with a reason."""
    unit = a[0].unit
    shown = FigureChange(
        name=name,
        unit=unit,
        better="higher" if unit in HIGHER_IS_BETTER else "lower",
        a=_shown(a),
        b=_shown(b),
    )
    reason = different or _missing(a, "A") or _missing(b, "B") or _other_batches(a, b)
    if reason is not None:
        return _unknown(shown, reason)
    blocks = [_per_run(side, replicate, how) for side in (a, b)]
    values = _values(blocks[0], replicate), _values(blocks[1], replicate)
    try:
        check(values[0], "A")
        check(values[1], "B")
    except ValueError as error:
        return _unknown(shown, str(error))
    shown = shown.model_copy(
        update={
            "a": shown.a.model_copy(update={"values": tuple(values[0])}),
            "b": shown.b.model_copy(update={"values": tuple(values[1])}),
            "replicates": (len(values[0]), len(values[1])),
            "difference": hodges_lehmann_shift([values]).estimate,
        }
    )
    if unit == COUNTED and _are_counts(values, (*a, *b)):
        return Judged(_counted(shown, values, a[0].note, b[0].note), values)
    chosen: _Chosen = {"better": shown.better, "tolerance_percent": how.tolerance_percent, "level": how.level}
    verdict = (
        judge_blocks(blocks[0], blocks[1], **chosen)
        if replicate == "block"
        else judge(*values, replicate=replicate, **chosen)
    )
    return Judged(_withheld(_with(shown, verdict, how.too_early), how.machine), values)


def _shown(side: Sequence[Metric]) -> FigureOfSide:
    medians = [metric.median for metric in side if metric.median is not None]
    reason = next((metric.reason for metric in side if metric.median is None), None)
    return FigureOfSide(
        n=sum(metric.n for metric in side), median=None if reason else statistics.median(medians), reason=reason
    )


def _missing(side: Sequence[Metric], name: str) -> str | None:
    return next((f"not measured in {name}: {metric.reason}" for metric in side if metric.median is None), None)


def _other_batches(a: Sequence[Metric], b: Sequence[Metric]) -> str | None:
    measured = {frozenset(metric.batches) for metric in (*a, *b)}
    return "it was not measured in the same batches everywhere" if len(measured) > 1 else None


def _unknown(shown: FigureChange, reason: str) -> Judged:
    return Judged(shown.model_copy(update={"reason": reason}), None)


def _per_run(side: Sequence[Metric], replicate: Replicate, how: Judging) -> list[list[float]]:
    """The values of each run."""
    values = repeat_values if replicate == "repeat" else launch_values
    return [values(metric)[: how.launches] for metric in side]


def _values(runs: Sequence[Sequence[float]], replicate: Replicate) -> list[float]:
    """One number a replicate."""
    if replicate == "block":
        return [statistics.median(values) for values in runs]
    return [value for values in runs for value in values]


def _are_counts(values: Values, metrics: Sequence[Metric]) -> bool:
    """What a resident set is differs from launch to launch, so that one of each side shows nothing."""
    measured = any("resident set" in (metric.note or "") for metric in metrics)
    return all(len(set(side)) == 1 and (len(side) > 1 or not measured) for side in values)


def _counted(shown: FigureChange, values: Values, a: str | None, b: str | None) -> FigureChange:
    """A count is compared by its value."""
    if a != b:
        return shown.model_copy(update={"reason": f"not the same quantity: A is {a}, B is {b}"})
    (before, *_), (after, *_) = values
    outcome: FigureOutcome = "equal" if after == before else "more" if after > before else "less"
    percent = (after - before) * 100 / before if before > 0 else None
    reason = f"the same in every launch of a side, and compared as it is ({a})"
    return shown.model_copy(update={"outcome": outcome, "change_percent": percent, "reason": reason})


def _with(shown: FigureChange, verdict: Verdict, too_early: str | None) -> FigureChange:
    interval, needed = verdict.change_percent_interval, verdict.needed
    found = {
        "outcome": "cannot tell" if too_early else verdict.outcome,
        "reason": too_early or verdict.reason,
        "change_percent": verdict.change_percent,
        "change_percent_interval": None if interval is None else (interval[0], _finite(interval[1])),
        "confidence": verdict.confidence,
        "method": verdict.method,
        "scatter_percent": verdict.scatter_percent,
        "smallest_change_percent": verdict.smallest_change_percent,
        "needed": None
        if needed is None
        else Needed(count=needed.launches, change_percent=needed.change_percent, what=needed.what),
    }
    return shown.model_copy(update=found)


def _withheld(change: FigureChange, machine: str | None) -> FigureChange:
    """What cannot be told anyway keeps its reason; more launches are no remedy for another machine."""
    if machine is None or change.outcome == "cannot tell":
        return change
    none: dict[str, object] = {"smallest_change_percent": None, "needed": None}
    return change.model_copy(update={"outcome": "cannot tell", "reason": machine, **none})


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
