"""How the figures of one stage changed between two runs, and whether they may be compared at all."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from llm_perf_opt.analysis.shift import Stratum, hodges_lehmann_shift, repeats_needed
from llm_perf_opt.records.comparison import FigureChange, FigureOfRun, Verdict
from llm_perf_opt.records.metrics import Metric

HIGHER_IS_BETTER = frozenset({"tokens/s", "ratio"})
"""Units of figures of which more is better; times, bytes and joules are costs."""
COUNTED = "bytes"
"""The unit that is counted rather than timed: one value a run, compared as it is."""
ONE_OBSERVATION = "one observation a run: there is no interval"


RATES = ("decode.tpot_ms", "decode.tokens_per_s")
"""Figures of a token: runs that made different numbers of them can be compared by these alone."""


def compare_figures(
    a: dict[str, Metric], b: dict[str, Metric], different: str | None, *, rates: bool = False
) -> tuple[FigureChange, ...]:
    """Every figure of one stage, in order.

    Args:
        a, b: the figures by name; both have all names, measured or not.
        different: why the runs did different work; None where they may be compared.
        rates: whether rates may be compared all the same.
    """
    return tuple(
        compare_figure(name, metric, b[name], None if rates and name in RATES else different)
        for name, metric in a.items()
    )


def compare_figure(name: str, a: Metric, b: Metric, different: str | None = None) -> FigureChange:
    """One figure of both runs; what cannot be said is null with a reason."""
    shown = FigureChange(
        name=name,
        unit=a.unit,
        better="higher" if a.unit in HIGHER_IS_BETTER else "lower",
        a=_shown(a),
        b=_shown(b),
    )
    reason = different or _missing(a, "A") or _missing(b, "B")
    if reason is not None:
        return shown.model_copy(update={"reason": reason})
    if not a.batches or not b.batches:
        return _single(shown, a, b)
    if set(a.batches) != set(b.batches):
        return shown.model_copy(update={"reason": "the runs measured it in different batches"})
    return _repeated(shown, _strata(a, b))


def _shown(metric: Metric) -> FigureOfRun:
    return FigureOfRun(n=metric.n, median=metric.median, ci95=metric.ci95, reason=metric.reason)


def _missing(metric: Metric, run: str) -> str | None:
    return f"not measured in {run}: {metric.reason}" if metric.median is None else None


def _strata(a: Metric, b: Metric) -> list[Stratum]:
    """The observations of both runs batch by batch."""
    batches = sorted(set(a.batches))
    return [(_samples(a, batch), _samples(b, batch)) for batch in batches]


def _samples(metric: Metric, batch: int) -> list[float]:
    return [sample for sample, own in zip(metric.samples, metric.batches, strict=True) if own == batch]


def _single(shown: FigureChange, a: Metric, b: Metric) -> FigureChange:
    """A figure of the whole run: a count is compared by its value, a measurement has no interval."""
    counted = shown.unit == COUNTED
    if counted and a.note != b.note:
        return shown.model_copy(update={"reason": f"not the same quantity: A is {a.note}, B is {b.note}"})
    before, after = a.samples[0], b.samples[0]
    percent, why_not = _percent(before, after)
    changes = {
        "change_percent": percent,
        "percent_reason": why_not,
        "difference": after - before,
        "verdict": _of_count(before, after) if counted else "unknown",
        "reason": f"one value a run, compared as it is ({a.note})" if counted else ONE_OBSERVATION,
    }
    return shown.model_copy(update=changes)


def _of_count(before: float, after: float) -> Verdict:
    return "equal" if after == before else "more" if after > before else "less"


def _percent(a: float, b: float) -> tuple[float | None, str | None]:
    return ((b - a) * 100 / a, None) if a > 0 else (None, "A is 0, of which nothing is a percentage")


def _repeated(shown: FigureChange, strata: Sequence[Stratum]) -> FigureChange:
    """A figure of every timed repeat."""
    absolute = hodges_lehmann_shift(strata)
    changes: dict[str, object] = {"difference": absolute.estimate, "difference_ci95": absolute.interval}
    if all(sample > 0 for stratum in strata for run in stratum for sample in run):
        ratio = hodges_lehmann_shift([(_each(math.log, a), _each(math.log, b)) for a, b in strata])
        changes["change_percent"] = _as_percent(ratio.estimate)
        if ratio.interval is not None:
            changes["change_percent_ci95"] = (_as_percent(ratio.interval[0]), _as_percent(ratio.interval[1]))
    else:
        changes["percent_reason"] = "some of its values are 0, of which nothing is a percentage"
    if absolute.interval is None:
        changes["reason"] = _too_few(strata)
    else:
        changes["verdict"] = _verdict(shown, *absolute.interval)
    return shown.model_copy(update=changes)


def _each(function: Callable[[float], float], values: Sequence[float]) -> list[float]:
    return [function(value) for value in values]


def _as_percent(log_ratio: float) -> float:
    return math.expm1(log_ratio) * 100


def _verdict(shown: FigureChange, low: float, high: float) -> Verdict:
    """Of B, from where the interval of B − A lies; one that holds 0 shows nothing."""
    if low <= 0 <= high:
        return "no change shown"
    return "better" if (high < 0) == (shown.better == "lower") else "worse"


def _too_few(strata: Sequence[Stratum]) -> str:
    counts = sorted({(len(a), len(b)) for a, b in strata})
    had = ", ".join(f"{a} in A and {b} in B" for a, b in counts)
    batches = "one batch" if len(strata) == 1 else f"each of {len(strata)} batches"
    return (
        f"too few timed repeats for a 95 % interval (of {batches}: {had}): "
        f"measure.repeats={repeats_needed(len(strata))} in both runs would do"
    )
