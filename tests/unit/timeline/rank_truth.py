"""Ranks whose arrivals and clocks are known, and what a comparison of them must say, computed step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from llm_perf_opt.analysis.timeline.before import LOOKS, Before
from llm_perf_opt.analysis.timeline.collectives import CollectiveRows, Collectives, Key
from llm_perf_opt.analysis.timeline.ranks import Member
from llm_perf_opt.records.columns import NONE

ALL_REDUCE = Key("ncclDevKernel_AllReduce", "stream 0", recorded=False, numbered=False)


@dataclass(frozen=True)
class TrueClock:
    """Shows `offset_ns` more than the true time, and gains."""

    offset_ns: int = 0
    drift_ppm: int = 0

    def shown(self, time: int) -> int:
        return time + self.offset_ns + round(Fraction(time * self.drift_ppm, 10**6))


@dataclass(frozen=True)
class TrueCollective:
    """When each rank arrived, and when it ended on all of them."""

    arrivals: tuple[int, ...]
    end: int


def collectives(times: Sequence[tuple[int, int]], key: Key = ALL_REDUCE, *, synchronises: bool = True) -> Collectives:
    """Of (start, end) each."""
    count = len(times)
    start, end = (np.array([pair[side] for pair in times], np.int64) for side in (0, 1))
    rows = CollectiveRows(
        start, end, np.zeros(count, np.int32), np.arange(count), np.full(count, int(synchronises), np.int8)
    )
    return Collectives(rows, (key,), Before(np.full((count, LOOKS), NONE, np.int32), ()), int((end - start).sum()))


def members(truth: Sequence[TrueCollective], clocks: Sequence[TrueClock]) -> list[Member]:
    """One rank for each clock."""
    return [
        Member(
            rank,
            f"r{rank}",
            rank,
            collectives([(clock.shown(one.arrivals[rank]), clock.shown(one.end)) for one in truth]),
        )
        for rank, clock in enumerate(clocks)
    ]


def waited_ns(truth: Sequence[TrueCollective], rank: int) -> int:
    return sum(max(one.arrivals) - one.arrivals[rank] for one in truth)


def late_ns(truth: Sequence[TrueCollective], rank: int) -> int:
    """Against the middle one of the ranks, the lower of two."""
    return sum(max(0, one.arrivals[rank] - sorted(one.arrivals)[(len(one.arrivals) - 1) // 2]) for one in truth)
