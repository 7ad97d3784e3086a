"""Whether B is faster than A, from one figure of each launch: the launch is the replicate, not the repeat within it.

Repeats of one launch share what the launch was given (placement in memory, clocks, the load of that minute), so they
say nothing of how far the next launch lies. What enters here is one number a launch, the median of its repeats; or,
where A and B were measured at different times, one number a block, the median of its launches. (Of one launch a side
its repeats may be judged in the same way; what is said then holds within these launches.)

All is said of the ratio of B to A. With `level` the chance of a false alarm:

- Its interval is the exact rank interval (`analysis.shift`) of the logarithms wherever ranks of so many launches can
  reach 1 − level, which holds for any distribution; else Welch's (`analysis.student`), which takes the logarithms of
  launch medians to be normal.
- Faster or slower: the interval lies on one side of no change.
- The same within the tolerance: the interval of confidence 1 − 2·level lies within 1/(1 + tolerance) to 1 + tolerance
  (two one-sided tests: Schuirmann 1987, A comparison of the two one-sided tests procedure and the power approach,
  J. Pharmacokinet. Biopharm. 15). This goes before faster and slower: what is smaller than the tolerance does not
  matter, however well it is shown. Each of the two claims is false with at most `level`.
- Cannot tell: neither; with the smallest change that so many launches could have shown, and how many would do.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from llm_perf_opt.analysis.power import Needed, launches_needed, smallest_change
from llm_perf_opt.analysis.shift import hodges_lehmann_shift, interval_rank, rank_confidence
from llm_perf_opt.analysis.student import variance, welch
from llm_perf_opt.records.comparison import Replicate

Outcome = Literal["faster", "slower", "same", "cannot tell"]
"""Of B; 'same' is within the tolerance."""
Method = Literal["exact rank interval", "Welch on logarithms"]
Better = Literal["lower", "higher"]

LEVEL = 0.05
TOLERANCE_PERCENT = 1.0
BLOCKS_NEEDED = 5
"""A side, below which two sets of blocks are not told apart from the times at which they were measured."""
AT_DIFFERENT_TIMES = "measured at different times"


@dataclass(frozen=True)
class Verdict:
    """What two sides of replicates show of B against A."""

    outcome: Outcome
    reason: str
    replicate: Replicate
    replicates: tuple[int, int]
    """In A and in B."""
    level: float
    tolerance_percent: float
    method: Method | None = None
    """None where no interval could be made."""
    change_percent: float | None = None
    """Of B against A; None where a value is 0, of which nothing is a percentage."""
    change_percent_interval: tuple[float, float] | None = None
    confidence: float | None = None
    """That the interval keeps: for ranks counted, and at least 1 − level."""
    scatter_percent: float | None = None
    """Standard deviation from one replicate to the next, pooled over both sides; None where neither side has two."""
    smallest_change_percent: float | None = None
    """That so many replicates find in 8 of 10 cases; None where no interval could be made, or nothing scatters."""
    needed: Needed | None = None
    """Only where the outcome is 'cannot tell'."""


@dataclass(frozen=True)
class LogChange:
    """Of ln(B/A)."""

    method: Method
    estimate: float
    interval: tuple[float, float]
    """Of confidence 1 − level or, of ranks, the next above it."""
    sameness: tuple[float, float]
    """Likewise of 1 − 2·level, which two one-sided tests need."""
    confidence: float


def judge(
    a: Sequence[float],
    b: Sequence[float],
    *,
    better: Better = "lower",
    tolerance_percent: float = TOLERANCE_PERCENT,
    level: float = LEVEL,
    replicate: Replicate = "launch",
) -> Verdict:
    """The verdict on B from one number a replicate, which were made in a balanced order in one block.

    Raises:
        ValueError: a side is empty, or a value is negative or no number.
    """
    check(a, "A")
    check(b, "B")
    if not tolerance_percent > 0 or not 0 < level < 0.5:
        raise ValueError(f"no tolerance or level: {tolerance_percent} %, {level}")
    unknown = Verdict("cannot tell", "", replicate, (len(a), len(b)), level, tolerance_percent)
    if min(*a, *b) == 0:
        return _with_zeros(a, b, better, unknown)
    of_a, of_b = [math.log(value) for value in a], [math.log(value) for value in b]
    tolerance, scatter = math.log1p(tolerance_percent / 100), pooled_scatter(of_a, of_b)
    change = log_change(of_a, of_b, level)
    estimate = change.estimate if change else statistics.median(of_b) - statistics.median(of_a)
    known = replace(
        unknown, change_percent=as_percent(estimate), scatter_percent=None if scatter is None else as_percent(scatter)
    )
    needed = launches_needed(scatter, estimate, tolerance, level) if scatter else None
    if change is None:
        return replace(known, reason=_no_interval(a, b, replicate), needed=needed)
    smallest = smallest_change(scatter, len(a), len(b), level) if scatter else None
    outcome, reason = _decided(change, tolerance, better)
    return replace(
        known,
        outcome=outcome,
        reason=reason,
        method=change.method,
        change_percent_interval=_percents(change.interval),
        confidence=change.confidence,
        smallest_change_percent=None if smallest is None else as_percent(smallest),
        needed=needed if outcome == "cannot tell" else None,
    )


def judge_blocks(
    a: Sequence[Sequence[float]],
    b: Sequence[Sequence[float]],
    *,
    better: Better = "lower",
    tolerance_percent: float = TOLERANCE_PERCENT,
    level: float = LEVEL,
) -> Verdict:
    """The verdict on B from runs made at different times: each run is a block of launches and one replicate."""
    sides = [[statistics.median(block) for block in blocks] for blocks in (a, b)]
    verdict = judge(*sides, better=better, tolerance_percent=tolerance_percent, level=level, replicate="block")
    if min(len(a), len(b)) >= BLOCKS_NEEDED:
        return verdict
    reason = f"{AT_DIFFERENT_TIMES}: {counted((len(a), len(b)), 'block')}, and {BLOCKS_NEEDED} a side are needed"
    return replace(verdict, outcome="cannot tell", reason=reason, needed=_blocks_needed(verdict))


def _blocks_needed(verdict: Verdict) -> Needed | None:
    """No fewer than tell apart times; None where nothing is known of how far blocks differ."""
    if verdict.needed is not None:
        return replace(verdict.needed, launches=max(verdict.needed.launches, BLOCKS_NEEDED))
    if verdict.outcome == "same":
        return Needed(BLOCKS_NEEDED, verdict.tolerance_percent, "confirm")
    if verdict.outcome == "cannot tell" or verdict.change_percent is None:
        return None
    return Needed(BLOCKS_NEEDED, abs(verdict.change_percent), "show")


def check(values: Sequence[float], side: str) -> None:
    """Raise ValueError where the values of a side cannot be judged."""
    if not values:
        raise ValueError(f"{side} has no launch")
    for value in values:
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{side} has {value}, which is no measured amount")


def counted(had: tuple[int, ...], replicate: Replicate) -> str:
    """'5 launches a side', '4 and 5 launches'; of one side, '5 launches'."""
    if max(had) == 1:
        return f"one {replicate}" + (" a side" if len(had) > 1 else "")
    plural = "launches" if replicate == "launch" else f"{replicate}s"
    if len(set(had)) > 1:
        return f"{' and '.join(map(str, had))} {plural}"
    return f"{had[0]} {plural}" + (" a side" if len(had) > 1 else "")


def log_change(a: Sequence[float], b: Sequence[float], level: float) -> LogChange | None:
    """The change from logarithms of both sides; None where no interval can be made of them."""
    sizes = ((min(len(a), len(b)), max(len(a), len(b))),)
    rank = interval_rank(sizes, 1 - level)
    if rank:
        wide, narrow = (hodges_lehmann_shift([(a, b)], 1 - share * level) for share in (1, 2))
        assert wide.interval is not None
        assert narrow.interval is not None
        confidence = rank_confidence(sizes, rank)
        return LogChange("exact rank interval", wide.estimate, wide.interval, narrow.interval, confidence)
    means = welch(a, b)
    if means is None:
        return None
    return LogChange(
        "Welch on logarithms", means.estimate, means.interval(1 - level), means.interval(1 - 2 * level), 1 - level
    )


def pooled_scatter(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Standard deviation within the sides, pooled by their degrees of freedom."""
    freedom = len(a) + len(b) - 2
    if freedom < 1:
        return None
    squares = sum((len(side) - 1) * variance(side) for side in (a, b) if len(side) > 1)
    return math.sqrt(squares / freedom)


def as_percent(log_ratio: float) -> float:
    """Infinite where no float holds it, as at the end of an interval of two launches that differ by powers of ten."""
    return math.expm1(log_ratio) * 100 if log_ratio < 700 else math.inf


def _percents(interval: tuple[float, float]) -> tuple[float, float]:
    return as_percent(interval[0]), as_percent(interval[1])


def _decided(change: LogChange, tolerance: float, better: Better) -> tuple[Outcome, str]:
    low, high = change.sameness
    if -tolerance < low and high < tolerance:
        return "same", "the change lies within the tolerance"
    low, high = change.interval
    if low <= 0 <= high:
        return "cannot tell", "the interval of the change holds 0 and reaches beyond the tolerance"
    return _direction(low > 0, better)


def _direction(more: bool, better: Better) -> tuple[Outcome, str]:
    side = "above" if more else "below"
    return "slower" if more == (better == "lower") else "faster", f"the whole interval of the change lies {side} 0"


def _no_interval(a: Sequence[float], b: Sequence[float], replicate: Replicate) -> str:
    """Why there is none."""
    had = counted((len(a), len(b)), replicate)
    if max(len(a), len(b)) == 1:
        return f"{had}: how far one {replicate} lies from the next is not known"
    if min(len(a), len(b)) == 1:
        return f"{had}: too few for ranks, and one value has no scatter"
    return f"{had}: too few for ranks, and without any scatter there is no t distribution"


def _with_zeros(a: Sequence[float], b: Sequence[float], better: Better, unknown: Verdict) -> Verdict:
    """Ranks need no logarithms: a direction is shown all the same, a percentage or sameness only of equal values."""
    sizes = ((min(len(a), len(b)), max(len(a), len(b))),)
    rank = interval_rank(sizes, 1 - unknown.level)
    if not rank:
        return replace(unknown, reason="some values are 0, of which there is no logarithm, and too few for ranks")
    ranked = replace(unknown, method="exact rank interval", confidence=rank_confidence(sizes, rank))
    interval = hodges_lehmann_shift([(a, b)], 1 - unknown.level).interval
    assert interval is not None
    if min(*a, *b) == max(*a, *b):
        return replace(ranked, outcome="same", reason="every value is 0 on both sides")
    if interval[0] <= 0 <= interval[1]:
        return replace(ranked, reason="the interval of the difference holds 0, and of 0 nothing is a percentage")
    outcome, _ = _direction(interval[0] > 0, better)
    side = "above" if interval[0] > 0 else "below"
    return replace(ranked, outcome=outcome, reason=f"the whole interval of the difference lies {side} 0")
