"""Which range of a thread was innermost at a time: the open one that started last.

Ranges of one thread nest, so the number of open ones gives the depth, and the innermost is the last that started at
that depth: two searches, no stack. Ranges that cross (of different NVTX domains, or by rounded times) are put into
layers that nest each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.analysis.timeline.intervals import Int, Packing, ordered
from llm_perf_opt.records.columns import RANGE_KINDS, Events, Ranges
from llm_perf_opt.records.factor import ranks

Positions = NDArray[np.int32]
NONE = -1
MOST_LAYERS = 64
"""Ranges that cross deeper than this are cut where the one around them ends."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """Ranges that nest, by packed start."""

    rows: Positions | None
    """Position of each among all, in the order of `Nest`; None where it is the same."""
    starts: Int
    ends_sorted: Int
    """Of those that last."""
    opened: Positions
    """Lasting ranges up to and with each."""
    depth_keys: Int
    """depth × number of ranges + position, sorted."""

    def innermost(self, at: Int, last: Int | None = None) -> Int:
        """Position among all of the innermost range at each packed time; -1 without one.

        Args:
            last: only the ranges up to this one of the layer are there.
        """
        if not len(self.starts):
            return np.full(len(at), NONE, np.int64)
        if last is None:
            last = np.searchsorted(self.starts, at, "right") - 1
        depth = np.where(last < 0, 0, self.opened[last]) - np.searchsorted(self.ends_sorted, at, "right")
        found = np.searchsorted(self.depth_keys, (depth - 1) * len(self.starts) + last, "right") - 1
        inner = self.depth_keys[np.maximum(found, 0)] % len(self.starts)
        return np.where(depth > 0, inner if self.rows is None else self.rows[inner], NONE)


class Nest:
    """The ranges of all threads; half open, so that one that ends when the next starts is not around it."""

    def __init__(self, thread: NDArray[np.integer], start: Int, end: Int, tie: Int | None = None) -> None:
        """
        Args:
            tie: of ranges that start and end together, those of a higher number are inside the others.
        """
        threads = int(thread.max()) + 1 if len(thread) else 0
        self._packing = Packing.over(threads, start, end)
        starts, ends = self._packing.pack(thread, start), self._packing.pack(thread, end)
        self.order: Positions = ordered(starts, -ends, *(() if tie is None else (tie,))).astype(np.int32)
        """The ranges by thread, start and falling end."""
        starts = starts[self.order]
        ends = ends[self.order]
        self._layers, self._parents = _layers(starts, ends)

    def innermost(self, thread: NDArray[np.integer], time: Int) -> Int:
        """The innermost range of each thread at each time; -1 without one."""
        if not len(self.order):
            return np.full(len(time), NONE, np.int64)
        first, last = self._packing.first, self._packing.first + self._packing.span - 1
        at = self._packing.pack(thread, time)
        found: Int = np.full(len(at), NONE, np.int64)
        for layer in self._layers:
            found = np.maximum(found, layer.innermost(at))
        outside = (time < first) | (time > last) | (thread < 0)
        return np.where((found == NONE) | outside, NONE, self.order[np.maximum(found, 0)])

    @property
    def crosses(self) -> bool:
        """Whether some ranges of a thread overlap without one holding the other."""
        return len(self._layers) > 1

    def boundaries(self, thread: NDArray[np.integer], start: Int, end: Int) -> tuple[Int, Int]:
        """(thread, time) of every start and end, sorted; from each to the next the innermost range stays the same.

        The arguments are those that it was made of.
        """
        packed = np.unique(np.append(self._packing.pack(thread, start), self._packing.pack(thread, end)))
        return packed // self._packing.span, packed % self._packing.span + self._packing.first

    def parents(self) -> Positions:
        """The range directly around each; -1 where there is none."""
        parents = np.empty(len(self.order), np.int32)
        parents[self.order] = np.where(self._parents == NONE, NONE, self.order[np.maximum(self._parents, 0)])
        return parents


def range_nest(events: Events, rows: Int | None = None, thread: Int | None = None) -> Nest:
    """These ranges of a file (None: all), in which the order of rows decides nothing.

    Args:
        thread: what each is on, where that is not its thread.
    """
    ranges = events.ranges if rows is None else events.ranges.take(rows)
    thread = ranges.thread if thread is None else thread
    return Nest(thread, ranges.start_ns, ranges.end_ns, among_equals(events, ranges))


def among_equals(events: Events, ranges: Ranges) -> Int:
    """The order of ranges that start and end together: by name, then domain, shapes and kind."""
    places = ranks(events.names)
    found: Int = places[ranges.name]
    for column in (ranges.domain, ranges.shapes):
        if (column != NONE).any():
            found = found.astype(np.int64) * (len(places) + 1) + np.where(column == NONE, 0, places[column] + 1)
    if len(ranges) and (ranges.kind != ranges.kind[0]).any():
        found = found.astype(np.int64) * len(RANGE_KINDS) + ranges.kind
    return found


def _layers(starts: Int, ends: Int) -> tuple[list[_Layer], Positions]:
    """Ranges by start and falling end as layers that nest each, and the innermost range around each."""
    layer, parents = _layer(None, starts, ends)
    if _inside(parents, ends).all():
        return [layer], parents
    layers: list[_Layer] = []
    ends = ends.copy()
    rest = np.arange(len(starts), dtype=np.int32)
    while len(rest):
        crossing: list[Positions] = []
        rows = rest
        while True:
            layer, parents = _layer(rows, starts[rows], ends[rows])
            inside = _inside(parents, ends[rows])
            if inside.all():
                break
            if len(layers) == MOST_LAYERS:
                ends[rows[~inside]] = ends[rows[parents[~inside]]]
                continue
            crossing.append(rows[~inside])
            rows = rows[inside]
        layers.append(layer)
        rest = np.sort(np.concatenate(crossing)) if crossing else rest[:0]
    return layers, _parents(layers, starts)


def _inside(parents: Positions, ends: Int) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = (parents == NONE) | (ends <= ends[np.maximum(parents, 0)])
    return inside


def _parents(layers: Sequence[_Layer], starts: Int) -> Positions:
    """The innermost range around the start of each, of those that come before it in the order."""
    found = np.full(len(starts), NONE, np.int32)
    for layer in layers:
        # Those that start together with a range and come after it in the order are inside it, not around it.
        rows = np.arange(len(starts)) if layer.rows is None else layer.rows
        before = np.searchsorted(rows, np.arange(len(starts)), "left") - 1
        found = np.maximum(found, layer.innermost(starts, before))
    return found.astype(np.int32)


def _layer(rows: Positions | None, starts: Int, ends: Int) -> tuple[_Layer, Positions]:
    """A layer of these ranges, and the parent of each as if they nested, by position among them."""
    # In place and in 32 bits where that does: there may be millions of ranges.
    lasting = ends > starts
    # Ends are nearly in the order of the starts, which a stable sort makes use of.
    ends_sorted = np.sort(ends if lasting.all() else ends[lasting], kind="stable")
    opened = np.cumsum(lasting, dtype=np.int32)
    depth = opened - lasting
    depth -= np.searchsorted(ends_sorted, starts, "right").astype(np.int32)
    # Crossing ones can make this negative; they are sorted out by their parents.
    np.maximum(depth, 0, out=depth)
    count = len(starts)
    order = np.argsort(depth.astype(np.int16) if depth.max(initial=0) < 1 << 15 else depth, kind="stable")
    positions: Positions = order.astype(np.int32)
    keys = depth[positions].astype(np.int64)
    keys *= count
    keys += positions
    # The parent of each is the last before it that is one less deep.
    found = np.searchsorted(keys, keys - count, "right")
    found -= 1
    np.maximum(found, 0, out=found)
    parents = np.empty(count, np.int32)
    parents[positions] = positions[found]
    parents[depth == 0] = NONE
    return _Layer(rows, starts, ends_sorted, opened, keys), parents
