"""The sentence that a report of several ranks begins with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from llm_perf_opt.records.ranks import RankComparison, RankSkew

MOSTLY = 0.5


def answer(skews: Sequence[RankSkew], found: RankComparison) -> str:
    """Whom the others wait for, where collectives could be compared."""
    compared = [skew for skew in skews if skew.skew_ns is not None]
    error = f"the clocks agree to {_time(found.error_ns or 0)}"
    late = sum(skew.late_ns or 0 for skew in compared)
    if not late:
        return (
            f"No straggler can be named: in none of the {found.collectives:,} collectives that were compared a rank "
            f"came later than the others by more than can be told ({error})."
        )
    if found.straggler is None:
        most = max(compared, key=lambda skew: (skew.late_ns or 0, -skew.rank))
        return (
            f"No rank alone is the straggler: rank {most.rank} came late by {_time(most.late_ns or 0)} in all, "
            f"{(most.late_ns or 0) / late:.0%} of the lateness of all ranks ({error})."
        )
    one = next(skew for skew in compared if skew.rank == found.straggler)
    own = one.late_ns or 0
    said = (
        f"Rank {one.rank} is the straggler: it came last for {one.last or 0:,} of {found.collectives:,} collectives, "
        f"and others waited {_time(own)} for it, {own / late:.0%} of all lateness ({error})"
    )
    if found.doing:
        first = found.doing[0]
        much = "most of that time" if first.late_ns > MOSTLY * own else f"{first.late_ns / own:.0%} of that time"
        said += f"; {much} {first.what}"
    return f"{said}."


def without_answer(skews: Sequence[RankSkew]) -> str:
    """Why no collective could be compared."""
    reasons = Counter(skew.reason for skew in skews if skew.reason)
    said = "; ".join(f"{_ranks(skews, reason)}: {reason}" for reason, _ in sorted(reasons.items()))
    return f"The ranks cannot be compared in time, and no straggler can be named. {said}."


def _ranks(skews: Sequence[RankSkew], reason: str) -> str:
    found = listed([skew.rank for skew in skews if skew.reason == reason])
    return found[0].upper() + found[1:]


def _time(ns: int) -> str:
    for size, unit in ((10**9, "s"), (10**6, "ms"), (10**3, "µs")):
        if ns >= size:
            return f"{ns / size:.3g} {unit}"
    return f"{ns} ns"


def listed(ranks: Sequence[int]) -> str:
    """Ranks in words, those that follow one another as from and to."""
    spans: list[list[int]] = []
    for rank in ranks:
        if spans and rank == spans[-1][1] + 1:
            spans[-1][1] = rank
        else:
            spans.append([rank, rank])
    words = [str(first) if first == last else f"{first} to {last}" for first, last in spans]
    return f"rank{'' if len(ranks) == 1 else 's'} {', '.join(words)}"
