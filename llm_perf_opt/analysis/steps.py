"""Where in a series of runs a figure is clearly not what it was.

A run is one block and so one replicate (`analysis.verdict`): five on each side of a step are the least. Every place
between two runs that has so many on both sides is a candidate, and the level is shared among them all (Bonferroni), so
that over a series in which nothing changes any step at all is claimed with at most that chance, whatever the
distribution, provided that runs are independent. At a candidate the nearest `WINDOW` runs before are held against the
nearest after, so that a step of last week does not stand for one of last year; the clearest is taken first, and what
lies on either side of it is looked at by itself.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from llm_perf_opt.analysis.shift import lower_tail
from llm_perf_opt.analysis.verdict import (
    BLOCKS_NEEDED,
    LEVEL,
    TOLERANCE_PERCENT,
    Better,
    Verdict,
    judge_blocks,
)

WINDOW = 20
"""Runs on either side. With five after it, a step can still be shown in a series of 1,300."""


@dataclass(frozen=True)
class Step:
    """Between the run before `index` and that of it."""

    index: int
    verdict: Verdict
    """On the runs after it; faster or slower."""


def find_steps(
    values: Sequence[float],
    *,
    better: Better = "lower",
    tolerance_percent: float = TOLERANCE_PERCENT,
    level: float = LEVEL,
) -> list[Step]:
    """The clear steps of one figure, in order.

    Args:
        values: one number a run, in the order they were made; finite and not negative.
        level: of all steps together.
    """
    candidates = len(values) - 2 * BLOCKS_NEEDED + 1
    if candidates < 1:
        return []
    claim = functools.partial(
        judge_blocks, better=better, tolerance_percent=tolerance_percent, level=level / candidates
    )
    found: list[Step] = []
    parts = [(0, len(values))]
    while parts:
        low, high = parts.pop()
        step = _clearest(values, low, high, level / candidates, claim)
        if step is not None:
            found.append(step)
            parts += [(low, step.index), (step.index, high)]
    return sorted(found, key=lambda step: step.index)


def _clearest(values: Sequence[float], low: int, high: int, level: float, claim: Callable[..., Verdict]) -> Step | None:
    """Of the part from `low` to before `high`; None where none is clear, or all are within the tolerance."""
    shown = sorted(
        (chance, place)
        for place in range(low + BLOCKS_NEEDED, high - BLOCKS_NEEDED + 1)
        if (chance := _chance(*_sides(values, low, place, high))) <= level
    )
    for _, place in shown:
        verdict = claim(*([[value] for value in side] for side in _sides(values, low, place, high)))
        if verdict.outcome in ("faster", "slower"):
            return Step(place, verdict)
    return None


def _sides(values: Sequence[float], low: int, place: int, high: int) -> Iterator[Sequence[float]]:
    yield values[max(low, place - WINDOW) : place]
    yield values[place : min(high, place + WINDOW)]


def _chance(before: Sequence[float], after: Sequence[float]) -> float:
    """Two-sided, of ranks as far apart where nothing changed; equal values speak against a step."""
    ordered = sorted(after)
    not_above = sum(len(ordered) - bisect.bisect_left(ordered, value) for value in before)
    not_below = sum(bisect.bisect_right(ordered, value) for value in before)
    sizes = ((min(len(before), len(after)), max(len(before), len(after))),)
    least = min(not_above, not_below)
    # Beyond a third of the pairs no level that is asked for here is reached: not worth counting.
    return 1.0 if 3 * least > len(before) * len(after) else min(1.0, 2 * lower_tail(sizes, least))
