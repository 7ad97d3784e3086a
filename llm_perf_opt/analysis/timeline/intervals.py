"""Unions of intervals and the time that they cover, for many groups at once.

A group is a thread, a device or whatever the intervals of one row of the answer have in common. Group and time are
packed into one number, so that all groups are sorted, merged and searched in one go. Intervals are half open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int = NDArray[Any]
"""Whole numbers of 32 or 64 bits."""
MOST = 1 << 62
ROWS_AT_ONCE = 1 << 18


@dataclass(frozen=True, slots=True)
class Packing:
    """(group, time) as one number, in the order of the pairs."""

    first: int
    """Earliest time that is told apart; times before it count as it."""
    span: int

    @classmethod
    def over(cls, groups: int, *times: Int) -> Packing:
        """For these times in so many groups.

        Raises:
            OverflowError: they do not fit: centuries, or billions of groups.
        """
        filled = [column for column in times if len(column)]
        first = min((int(column.min()) for column in filled), default=0)
        last = max((int(column.max()) for column in filled), default=0)
        span = last - first + 2
        if span * (groups + 1) >= MOST:
            raise OverflowError("the times of this file lie too far apart")
        return cls(first, span)

    def pack(self, group: NDArray[np.integer] | int, time: Int) -> Int:
        packed: Int = np.clip(time, self.first, self.first + self.span - 1).astype(np.int64, copy=False)
        packed -= self.first
        if not np.ndim(group):
            packed += int(group) * self.span
            return packed
        found: Int = np.multiply(group, self.span, dtype=np.int64)
        found += packed
        return found


@dataclass(frozen=True, slots=True)
class Cover:
    """A union of intervals in every group."""

    packing: Packing
    starts: Int
    """Packed; sorted, as are the ends; no two intervals touch."""
    covered: Int
    """Time covered by the intervals before each, one more than there are."""

    @property
    def ends(self) -> Int:
        """Packed; made anew each time, since there may be millions."""
        found: Int = np.diff(self.covered)
        found += self.starts
        return found

    @classmethod
    def of(cls, packing: Packing, group: NDArray[np.integer] | int, start: Int, end: Int) -> Cover:
        """The union of these; those that end where they start, or before, hold nothing."""
        starts, ends = packing.pack(group, start), packing.pack(group, end)
        there = ends > starts
        if not there.all():
            starts, ends = starts[there], ends[there]
        return cls._merged(packing, starts, ends)

    @classmethod
    def _merged(cls, packing: Packing, starts: Int, ends: Int) -> Cover:
        if len(starts) and (starts[1:] < starts[:-1]).any():
            order = np.argsort(starts, kind="stable")
            starts, ends = starts[order], ends[order]
        if len(starts):
            reached = np.maximum.accumulate(ends)
            opens = np.flatnonzero(np.append(True, starts[1:] > reached[:-1]))
            starts, ends = starts[opens], reached[np.append(opens[1:] - 1, len(reached) - 1)]
        covered = np.zeros(len(starts) + 1, np.int64)
        np.cumsum(ends - starts, out=covered[1:])
        return cls(packing, starts, covered)

    def joined(self, other: Cover) -> Cover:
        """What either covers; both have one packing."""
        if not len(self.starts) or not len(other.starts):
            return other if len(other.starts) else self
        starts, ends = np.append(self.starts, other.starts), np.append(self.ends, other.ends)
        return self._merged(self.packing, starts, ends)

    def before(self, group: NDArray[np.integer] | int, time: Int) -> Int:
        """Time covered before each (group, time), counted from the first group on."""
        if not len(self.starts):
            return np.zeros(len(time), np.int64)
        at = self.packing.pack(group, time)
        last = np.searchsorted(self.starts, at, "right") - 1
        found = np.maximum(last, 0)
        inside = np.minimum(at - self.starts[found], self.covered[found + 1] - self.covered[found])
        return np.where(last < 0, 0, self.covered[found] + inside)

    def within(self, group: NDArray[np.integer] | int, start: Int, end: Int) -> Int:
        """Time covered from each start to its end; 0 where it ends before it starts."""
        return np.where(end > start, self.before(group, end) - self.before(group, start), 0)


def twice_covered(starts: Int, ends: Int) -> int:
    """Time that at least two of these intervals cover; both columns get sorted.

    With both sorted, at least two are open from the k-th start until the next start or the end before the k-th,
    whichever comes first.
    """
    starts.sort(kind="stable")
    ends.sort(kind="stable")
    total = 0
    for first in range(1, len(starts), ROWS_AT_ONCE):
        some = starts[first : first + ROWS_AT_ONCE]
        later = starts[first + 1 : first + 1 + ROWS_AT_ONCE]
        until = ends[first - 1 : first - 1 + len(some)].copy()
        np.minimum(until[: len(later)], later, out=until[: len(later)])
        until -= some
        total += int(np.maximum(until, 0).sum())
    return total


def runs(keys: Int) -> tuple[Int, Int]:
    """Of a sorted column: where each run of equal values starts, and the number of the run of each row."""
    if not len(keys):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    new = np.append(True, keys[1:] != keys[:-1])
    return np.flatnonzero(new), np.cumsum(new) - 1


def ordered(*keys: Int, ties: Callable[[Int], Sequence[Int]] = lambda _: ()) -> Int:
    """The order of rows by the first key, ties by the next; fast where the rows are in nearly that order.

    Args:
        ties: further keys of these rows, for which no column of all rows is to be made.
    """
    first = keys[0]
    if (first[1:] > first[:-1]).all():
        return np.arange(len(first), dtype=np.int32 if len(first) < 1 << 31 else np.int64)
    order = np.argsort(first, kind="stable")
    lead = first[order]
    same = lead[1:] == lead[:-1]
    del lead
    if not same.any():
        return order
    tied = np.flatnonzero(np.append(same, False) | np.append(False, same))
    rows = order[tied]
    further = [*(key[rows] for key in keys[1:]), *ties(rows)]
    if further:
        order[tied] = rows[np.lexsort([first[rows], *further][::-1])]
    return order
