"""Which range of a thread was innermost at a time: the open one that started last.

Ranges of one thread nest, so the number of open ones gives the depth, and the innermost is the last that started at
that depth: two searches, no stack. Ranges that cross (of different NVTX domains, or by rounded times) are put into
layers that nest each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.analysis.timeline.intervals import Int, Packing, ordered

NONE = -1
MOST_LAYERS = 64
"""Ranges that cross deeper than this are cut where the one around them ends."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """Ranges that nest, by packed start."""

    rows: Int
    """Position of each among all, in the order of `Nest`."""
    starts: Int
    ends_sorted: Int
    """Of those that last."""
    opened: Int
    """Lasting ranges up to and with each."""
    by_depth: Int
    """Positions by (depth, position)."""
    depth_keys: Int
    """depth × number of ranges + position, sorted."""

    def innermost(self, at: Int) -> Int:
        """Position among all of the innermost range at each packed time; -1 without one."""
        if not len(self.starts):
            return np.full(len(at), NONE, np.int64)
        last = np.searchsorted(self.starts, at, "right") - 1
        depth = np.where(last < 0, 0, self.opened[last]) - np.searchsorted(self.ends_sorted, at, "right")
        found = np.searchsorted(self.depth_keys, (depth - 1) * len(self.starts) + last, "right") - 1
        return np.where(depth > 0, self.rows[self.by_depth[np.maximum(found, 0)]], NONE)


class Nest:
    """The ranges of all threads; half open, so that one that ends when the next starts is not around it."""

    def __init__(self, thread: NDArray[np.integer], start: Int, end: Int) -> None:
        threads = int(thread.max()) + 1 if len(thread) else 0
        self._packing = Packing.over(threads, start, end)
        starts, ends = self._packing.pack(thread, start), self._packing.pack(thread, end)
        self.order = ordered(starts, -ends)
        """The ranges by thread, start and falling end."""
        self._starts, self._ends = starts[self.order], ends[self.order]
        self._layers: list[_Layer] = []
        self._parents = np.full(len(starts), NONE, np.int64)
        self._build()

    def _build(self) -> None:
        rest = np.arange(len(self._starts))
        while len(rest):
            crossing: list[Int] = []
            rows = rest
            while True:
                layer, parents = _layer(rows, self._starts, self._ends)
                inside = (parents == NONE) | (self._ends[rows] <= self._ends[rows[np.maximum(parents, 0)]])
                if inside.all():
                    break
                if len(self._layers) == MOST_LAYERS:
                    around = self._ends[rows[np.maximum(parents, 0)]]
                    self._ends[rows[~inside]] = around[~inside]
                    continue
                crossing.append(rows[~inside])
                rows = rows[inside]
            self._layers.append(layer)
            if len(rows) == len(self._starts):
                self._parents = np.where(parents == NONE, NONE, rows[np.maximum(parents, 0)])
                return
            rest = np.sort(np.concatenate(crossing)) if crossing else np.empty(0, np.int64)
        if len(self._layers) > 1:
            self._parents = self._parents_across_layers()

    def _parents_across_layers(self) -> Int:
        """The innermost range around the start of each, of those that come before it in the order."""
        found = np.full(len(self._starts), NONE, np.int64)
        for layer in self._layers:
            # Those that start together with a range and come after it in the order are inside it, not around it.
            before = np.searchsorted(layer.rows, np.arange(len(self._starts)), "left") - 1
            around = self._open_before(layer, before)
            found = np.maximum(found, around)
        return found

    def _open_before(self, layer: _Layer, last: Int) -> Int:
        """Of each range the innermost one of a layer that is open at its start, among its first `last` + 1."""
        closed = np.searchsorted(layer.ends_sorted, self._starts, "right")
        depth = np.where(last < 0, 0, layer.opened[np.maximum(last, 0)]) - closed
        found = np.searchsorted(layer.depth_keys, (depth - 1) * len(layer.starts) + last, "right") - 1
        return np.where((depth > 0) & (last >= 0), layer.rows[layer.by_depth[np.maximum(found, 0)]], NONE)

    def innermost(self, thread: NDArray[np.integer], time: Int) -> Int:
        """The innermost range of each thread at each time; -1 without one."""
        if not len(self._starts):
            return np.full(len(time), NONE, np.int64)
        first, last = self._packing.first, self._packing.first + self._packing.span - 1
        at = self._packing.pack(thread, time)
        found = np.full(len(at), NONE, np.int64)
        for layer in self._layers:
            found = np.maximum(found, layer.innermost(at))
        outside = (time < first) | (time > last) | (thread < 0)
        return np.where((found == NONE) | outside, NONE, self.order[np.maximum(found, 0)])

    def parents(self) -> Int:
        """The range directly around each; -1 where there is none."""
        parents = np.empty(len(self.order), np.int64)
        parents[self.order] = np.where(self._parents == NONE, NONE, self.order[np.maximum(self._parents, 0)])
        return parents


def _layer(rows: Int, all_starts: Int, all_ends: Int) -> tuple[_Layer, Int]:
    """A layer of these ranges, and the parent of each as if they nested, by position among them."""
    starts, ends = all_starts[rows], all_ends[rows]
    lasting = ends > starts
    ends_sorted = np.sort(ends if lasting.all() else ends[lasting])
    opened = np.cumsum(lasting)
    depth = opened - lasting - np.searchsorted(ends_sorted, starts, "right")
    # Crossing ones can make this negative; they are sorted out by their parents.
    depth = np.maximum(depth, 0)
    count = len(rows)
    small = depth.astype(np.int16) if count and depth.max() < 1 << 15 else depth
    by_depth = np.argsort(small, kind="stable")
    keys = depth[by_depth] * count + by_depth
    found = np.searchsorted(keys, (depth - 1) * count + np.arange(count), "right") - 1
    parents = np.where(depth > 0, by_depth[np.maximum(found, 0)], NONE)
    return _Layer(rows, starts, ends_sorted, opened, by_depth, keys), parents
