"""Captures of CUDA graphs whose calls say which kernel they launch, and whether a replay is one of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from llm_perf_opt.analysis.timeline.intervals import Int
from llm_perf_opt.analysis.timeline.launches import calls_of, nesting_ranges
from llm_perf_opt.analysis.timeline.modules import HostModules, Modules, host_modules, named
from llm_perf_opt.analysis.timeline.nesting import NONE, Nest, range_nest
from llm_perf_opt.records.columns import Events

_BEGINS = re.compile(r"(?:cuda|cu|hip)StreamBeginCapture")
GRAPH_LAUNCH = re.compile(r"(?:cuda|cu|hip)GraphLaunch")
_ENDS = re.compile(r"(?:cuda|cu|hip)StreamEndCapture")
SHOWN = 60
"""Of a kernel's name in a message."""


@dataclass(frozen=True, slots=True)
class Replay:
    """The kernels of one launch of a graph, by stream and time."""

    rows: Int
    names: list[int]
    streams: list[int]
    """A number for each of its streams."""
    words: str
    doubtful: bool
    """Times of some cannot be, so their order is not known."""

    def signature(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Equal for replays that are joined alike."""
        return tuple(self.names), tuple(self.streams)


@dataclass(frozen=True, slots=True)
class Segment:
    """The launches of one capture, in their order. Those that ran at once are none of it."""

    calls: Int
    kernels: list[str]
    streams: list[int]
    """Handle of the stream of each; all the same where the calls do not say."""

    def matched(self, kernels: Sequence[str], streams: Sequence[int]) -> tuple[list[int] | None, int, str]:
        """Of each replayed kernel the launch that captured it, or how far they agree and where they first do not.

        Kernels of one stream ran in the order in which they were captured. Nothing says which stream of the replay is
        which of the capture: streams are told by all their kernels, else a kernel by a name that is of one stream on
        both sides.
        """
        if len(set(streams)) < 2 and len(set(self.streams)) < 2:
            return self._compared(list(range(len(self.kernels))), list(range(len(kernels))), kernels, "")
        found = self._by_streams(kernels, streams)
        return (found, len(found), "") if found is not None else self._by_names(kernels, streams)

    def _by_streams(self, kernels: Sequence[str], streams: Sequence[int]) -> list[int] | None:
        """Where every stream of the replay ran what one stream of the capture launched, and no other stream did."""
        captured, ran = _sequences(self.kernels, self.streams), _sequences(kernels, streams)
        if captured.keys() != ran.keys() or any(len(places) > 1 for places in (*captured.values(), *ran.values())):
            return None
        order = [NONE] * len(kernels)
        for sequence, (theirs,) in ran.items():
            for at, launch in zip(theirs, captured[sequence][0], strict=True):
                order[at] = launch
        return order

    def _by_names(self, kernels: Sequence[str], streams: Sequence[int]) -> tuple[list[int] | None, int, str]:
        both: dict[str, tuple[set[int], set[int]]] = {}
        for name, place in zip(self.kernels, self.streams, strict=True):
            both.setdefault(name, (set(), set()))[0].add(place)
        for name, place in zip(kernels, streams, strict=True):
            both.setdefault(name, (set(), set()))[1].add(place)
        order = [NONE] * len(kernels)
        pairs: dict[tuple[int, int], set[str]] = {}
        for name, (captured, ran) in both.items():
            if not captured or not ran:
                side = "in the capture" if captured else "in the replay"
                return None, 0, f"{_short(name)} is only {side}"
            if len(captured) > 1 or len(ran) > 1:
                return None, 0, f"{_short(name)} is of several streams: its launches cannot be told apart"
            pairs.setdefault((min(captured), min(ran)), set()).add(name)
        for (_, ran_on), chosen in pairs.items():
            mine = [at for at, name in enumerate(self.kernels) if name in chosen]
            theirs = [at for at, name in enumerate(kernels) if name in chosen]
            found, agreed, where = self._compared(mine, theirs, kernels, f"stream {ran_on}, ")
            if found is None:
                return None, agreed, where
            for at, launch in zip(theirs, found, strict=True):
                order[at] = launch
        return order, len(order), ""

    def _compared(
        self, mine: list[int], theirs: list[int], kernels: Sequence[str], prefix: str
    ) -> tuple[list[int] | None, int, str]:
        captured, ran = [self.kernels[at] for at in mine], [kernels[at] for at in theirs]
        if captured == ran:
            return mine, len(mine), ""
        pairs = enumerate(zip(captured, ran, strict=False))
        first = next((at for at, (one, other) in pairs if one != other), min(len(captured), len(ran)))
        sides = [_short(side[first]) if first < len(side) else "none" for side in (captured, ran)]
        counts = f"{len(captured):,} captured, {len(ran):,} ran" if len(captured) != len(ran) else ""
        where = f"{prefix}kernel {first + 1}: captured {sides[0]}, ran {sides[1]}"
        return None, first, f"{where} ({counts})" if counts else where


@dataclass(slots=True)
class CaptureIndex:
    """What was captured while a file was recorded."""

    events: Events
    host: HostModules
    segments: list[Segment]
    _nested: Int
    _nest: Nest | None = None
    _known: dict[int, tuple[list[str], list[int]]] = field(default_factory=dict)

    @classmethod
    def of(cls, events: Events, host: HostModules | None = None) -> CaptureIndex:
        """
        Args:
            host: the modules of the file, where they were found before.
        """
        segments = captured_segments(events)
        nested = nesting_ranges(events) if segments else np.empty(0, np.int32)
        return cls(events, host_modules(events) if host is None else host, segments, nested)

    def places(self, segment: Segment, modules: Modules) -> tuple[list[str], list[int]]:
        """What each launch of a segment was in: the innermost operator or range ("" for none), the module."""
        key = int(segment.calls[0])
        if key not in self._known:
            events = self.events
            if self._nest is None:
                self._nest = range_nest(events, self._nested)
            thread, time = events.calls.thread[segment.calls], events.calls.start_ns[segment.calls]
            inner = self._nest.innermost(thread, time)
            owner = np.where(inner == NONE, NONE, self._nested[np.maximum(inner, 0)] if len(self._nested) else NONE)
            words = ["" if name == NONE else events.names[name] for name in named(events, owner).tolist()]
            self._known[key] = (words, self.host.at(modules, thread, time).tolist())
        return self._known[key]


def capture_first(first: Events, second: Events) -> bool | None:
    """Whether one file is the capture of what one process replays in the other: True where the first one is it, None
    where neither is.

    It is told by content: the process that launches graphs in the one captured launches in the other. Where each does
    both, the earlier one is the capture.
    """
    if None not in (ranks := (first.about.rank, second.about.rank)) and ranks[0] != ranks[1]:
        return None
    captured = [{_pid(events, segment.calls[0]) for segment in captured_segments(events)} for events in (first, second)]
    replayed = [_replaying(events) for events in (first, second)]
    ways = [bool(captured[0] & replayed[1]), bool(captured[1] & replayed[0])]
    if all(ways):
        return int(first.calls.start_ns.min()) <= int(second.calls.start_ns.min())
    return ways[0] if any(ways) else None


def _replaying(events: Events) -> set[int | str]:
    """The processes that launch graphs."""
    launching = np.array([GRAPH_LAUNCH.match(name) is not None for name in events.names], np.bool_)
    rows = np.flatnonzero(launching[events.calls.name]) if len(events.calls) else np.empty(0, np.int64)
    return {_pid(events, row) for row in rows}


def _pid(events: Events, call: np.integer[Any]) -> int | str:
    return events.processes[events.threads[int(events.calls.thread[call])].process].pid


def _sequences(kernels: Sequence[str], streams: Sequence[int]) -> dict[tuple[str, ...], list[list[int]]]:
    """The kernels of a stream → the places of them, of each stream that has these."""
    places: dict[int, list[int]] = {}
    for at, stream in enumerate(streams):
        places.setdefault(stream, []).append(at)
    found: dict[tuple[str, ...], list[list[int]]] = {}
    for mine in places.values():
        found.setdefault(tuple(kernels[at] for at in mine), []).append(mine)
    return found


def captured_segments(events: Events) -> list[Segment]:
    """The launches between the calls that begin and end each capture; all of a thread where there are no such calls."""
    calls, names = events.calls, events.names
    named_rows = np.flatnonzero(calls.kernel != NONE) if len(calls) else np.empty(0, np.int64)
    if not len(named_rows):
        return []
    ran = np.zeros(len(calls), np.bool_)
    launched = calls_of(events)[0]
    ran[launched[launched != NONE]] = True
    rows = named_rows[~ran[named_rows]]
    rows = rows[np.lexsort((calls.end_ns[rows], calls.start_ns[rows], calls.thread[rows]))]
    begins = np.array([_BEGINS.match(name) is not None for name in names], np.bool_)
    ends = np.array([_ENDS.match(name) is not None for name in names], np.bool_)
    edges = np.flatnonzero(begins[calls.name] | ends[calls.name])
    edges = edges[np.lexsort((calls.start_ns[edges], calls.thread[edges]))]
    found = []
    for thread in np.unique(calls.thread[rows]).tolist():
        mine = rows[calls.thread[rows] == thread]
        if not len(edges):
            found.append(_segment(events, mine))
            continue
        begin: int | None = None
        for edge in edges[calls.thread[edges] == thread].tolist():
            if begins[calls.name[edge]]:
                begin = int(calls.end_ns[edge])
            elif begin is not None:
                start = calls.start_ns[mine]
                inside = mine[(start >= begin) & (start <= calls.start_ns[edge])]
                found += [_segment(events, inside)] if len(inside) else []
                begin = None
    return found


def _segment(events: Events, rows: Int) -> Segment:
    kernels = [events.names[name] for name in events.calls.kernel[rows].tolist()]
    streams = events.calls.stream[rows]
    return Segment(rows, kernels, [NONE] * len(rows) if (streams == NONE).any() else streams.tolist())


def _short(name: str) -> str:
    return name if len(name) <= SHOWN else f"{name[:SHOWN]}…"
