"""What so many launches can show, and how many would do: planned with the normal theory of two means.

The exact rank interval is planned as Welch's with its standard error raised by √(π/3): its efficiency against the
t interval is 3/π for normal scatter and at least 0.864 for any other (Hodges and Lehmann 1956, The efficiency of some
nonparametric competitors of the t-test, Ann. Math. Statist. 27).
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Literal

from llm_perf_opt.analysis.shift import interval_rank, rank_confidence
from llm_perf_opt.analysis.student import t_quantile

POWER = 0.8
"""The chance with which a change is to be found, or its absence confirmed (Cohen 1988, Statistical Power Analysis)."""
RANK_ERROR = math.sqrt(math.pi / 3)
COUNTED_UP_TO = 12
"""Launches a side up to which the attained confidence of ranks is used; above, it is near enough to what is asked."""


@dataclass(frozen=True)
class Needed:
    """How many launches a side would do, and for what."""

    launches: int
    change_percent: float
    what: Literal["show", "confirm"]
    """Show a change of `change_percent`, or confirm that there is none as large."""


def smallest_change(scatter: float, a: int, b: int, level: float) -> float | None:
    """The smallest log ratio that is found with `POWER` where logarithms of launch medians scatter by `scatter`.

    (t of 1 − level/2 + t of `POWER`) standard errors of the difference (Bloom 1995, Minimum detectable effects,
    Evaluation Review 19). None where nothing is: too few launches, or no scatter is known.
    """
    freedom = a + b - 2
    if freedom < 1 or min(a, b) < 1:
        return None
    kept, factor = _kept(a, b, level, level)
    error = scatter * math.sqrt(1 / a + 1 / b) * factor
    return (t_quantile(1 - kept / 2, freedom) + t_quantile(POWER, freedom)) * error


def smallest_tolerance(scatter: float, a: int, b: int, level: float) -> float | None:
    """The smallest tolerance (log ratio) within which equal sides are called the same with `POWER`.

    (t of 1 − level + t of (1 + `POWER`)/2) standard errors: both one-sided tests must reject (Julious 2004, Sample
    sizes for clinical trials with normal data, Statist. Med. 23, section 5).
    """
    freedom = a + b - 2
    if freedom < 1 or min(a, b) < 1:
        return None
    kept, factor = _kept(a, b, level, 2 * level)
    error = scatter * math.sqrt(1 / a + 1 / b) * factor
    return (t_quantile(1 - kept / 2, freedom) + t_quantile((1 + POWER) / 2, freedom)) * error


def launches_needed(scatter: float, estimate: float, tolerance: float, level: float) -> Needed:
    """Launches a side that would decide, if the change is what it seems; the first three are log ratios.

    A change larger than the tolerance is to be shown; a smaller one, to be confirmed as within it. Counted one by one
    while so few do; above, from normal quantiles with a quarter of the square of the first added (Guenther 1981, Sample
    size formulas for normal theory t tests, Amer. Statist. 35).
    """
    shown = abs(estimate) > tolerance
    target = abs(estimate) if shown else tolerance
    reach = smallest_change if shown else smallest_tolerance
    counted = (n for n in range(2, COUNTED_UP_TO + 1) if (reached := reach(scatter, n, n, level)) and reached <= target)
    normal = statistics.NormalDist().inv_cdf
    claim, chance = (normal(1 - level / 2), POWER) if shown else (normal(1 - level), (1 + POWER) / 2)
    planned = 2 * ((claim + normal(chance)) * scatter * RANK_ERROR / target) ** 2 + claim**2 / 4
    launches = next(counted, None) or max(COUNTED_UP_TO + 1, math.ceil(planned))
    return Needed(launches, math.expm1(target) * 100, "show" if shown else "confirm")


def _kept(a: int, b: int, level: float, asked: float) -> tuple[float, float]:
    """The two-sided level that is kept where `asked` is, and what the method that `level` chooses adds to the error."""
    sizes = ((min(a, b), max(a, b)),)
    if max(a, b) > COUNTED_UP_TO:
        return asked, RANK_ERROR
    if not interval_rank(sizes, 1 - level):
        return asked, 1.0
    return 1 - rank_confidence(sizes, interval_rank(sizes, 1 - asked)), RANK_ERROR
