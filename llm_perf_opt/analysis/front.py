"""The Pareto front of latency against throughput."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mark:
    """One point."""

    id: str
    work: Hashable
    """Points are held against those of equal work alone."""
    latency: float
    throughput: float


def on_front(marks: Sequence[Mark]) -> set[str]:
    """Ids of the points than which none of their work is better in one and at least as good in the other."""
    front: set[str] = set()
    for work in {mark.work for mark in marks}:
        best = float("-inf")
        same = sorted((mark for mark in marks if mark.work == work), key=lambda mark: (mark.latency, -mark.throughput))
        last: tuple[float, float] | None = None
        for mark in same:
            if mark.throughput > best or last == (mark.latency, mark.throughput):
                front.add(mark.id)
                best, last = mark.throughput, (mark.latency, mark.throughput)
    return front
