"""Kernels attributed to the ranges that launched them, and the time a device was busy.

A kernel belongs to the ranges that were open, on the thread that launched it, when the launch was called: the kernel
itself runs later, when those may be closed.
"""

from __future__ import annotations

import heapq
import itertools
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from llm_perf_opt.records.timeline import DeviceBusy, DeviceWork, PhaseKernel, RangeSpan, RangeWork, Timeline

PHASES = frozenset({"warmup", "prefill", "decode"})
OUTSIDE = "outside"
MOST_RANGES = 100
MOST_PHASE_KERNELS = 50

Intervals = Iterable[tuple[int, int]]


def busy_of(device: int, intervals: Intervals, copy_ns: int = 0) -> DeviceBusy:
    """The busy time of one device.

    Args:
        intervals: (start, end) of everything that ran on it, by rising start, ns.
        copy_ns: durations of the copies and sets among them, added up.
    """
    count = total = busy = 0
    first = reached = None
    for start, end in intervals:
        first = start if first is None else first
        count += 1
        total += end - start
        busy += max(0, end - (start if reached is None else max(start, reached)))
        reached = end if reached is None else max(reached, end)
    span = 0 if first is None or reached is None else reached - first
    return DeviceBusy(device=device, activities=count, activity_ns=total, copy_ns=copy_ns, busy_ns=busy, span_ns=span)


def timeline(work: Iterable[DeviceWork], spans: Iterable[RangeSpan], devices: Sequence[DeviceBusy]) -> Timeline:
    """Attribute every item of `work`.

    Args:
        work: by thread, those without one first, and launch time.
        spans: by thread, start and falling end.
    """
    sums = _Sums()
    by_thread = itertools.groupby(spans, key=attrgetter("thread"))
    following: tuple[int, Iterator[RangeSpan]] | None = next(by_thread, None)
    for thread, items in itertools.groupby(work, key=attrgetter("thread")):
        if thread is None:
            for item in items:
                sums.unattributed(item)
            continue
        while following is not None and following[0] < thread:
            _count_only(following[1], sums)
            following = next(by_thread, None)
        if following is not None and following[0] == thread:
            _sweep(items, following[1], sums)
            following = next(by_thread, None)
        else:
            _sweep(items, iter(()), sums)
    while following is not None:
        _count_only(following[1], sums)
        following = next(by_thread, None)
    return sums.record(devices)


@dataclass(slots=True)
class _Open:
    """An open occurrence of a range; it is compared by its end."""

    end_ns: float
    order: int
    row: _Row
    starts: array[int] = field(default_factory=lambda: array("q"))
    ends: array[int] = field(default_factory=lambda: array("q"))

    def __lt__(self, other: _Open) -> bool:
        return (self.end_ns, self.order) < (other.end_ns, other.order)


@dataclass(slots=True)
class _Row:
    name: str
    domain: str | None
    occurrences: int = 0
    kernels: int = 0
    kernel_ns: int = 0
    own_kernel_ns: int = 0
    span_ns: int = 0
    busy_ns: int = 0


@dataclass
class _Sums:
    rows: dict[tuple[str, str | None], _Row] = field(default_factory=dict)
    phases: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    kernels: int = 0
    kernel_ns: int = 0
    outside: int = 0
    outside_ns: int = 0
    without_launch: int = 0

    def row(self, span: RangeSpan) -> _Row:
        row = self.rows.setdefault((span.name, span.domain), _Row(span.name, span.domain))
        row.occurrences += 1
        return row

    def unattributed(self, item: DeviceWork) -> None:
        self._count(item, OUTSIDE)
        self.outside += 1
        self.outside_ns += item.end_ns - item.start_ns
        self.without_launch += item.thread is None

    def attribute(self, item: DeviceWork, opened: Sequence[_Open]) -> None:
        """Add `item` to the ranges around its launch, outermost first."""
        if not opened:
            self.unattributed(item)
            return
        duration = item.end_ns - item.start_ns
        phase = next((entry.row.name for entry in reversed(opened) if _is_phase(entry.row)), OUTSIDE)
        self._count(item, phase)
        opened[-1].row.own_kernel_ns += duration
        outermost: dict[int, _Open] = {}
        for entry in opened:  # a range inside one of its own name counts once
            outermost.setdefault(id(entry.row), entry)
        for entry in outermost.values():
            entry.row.kernels += 1
            entry.row.kernel_ns += duration
            entry.starts.append(item.start_ns)
            entry.ends.append(item.end_ns)

    def close(self, entry: _Open) -> None:
        found = busy_of(0, sorted(zip(entry.starts, entry.ends, strict=True)))
        entry.row.span_ns += found.span_ns
        entry.row.busy_ns += found.busy_ns

    def _count(self, item: DeviceWork, phase: str) -> None:
        duration = item.end_ns - item.start_ns
        self.kernels += 1
        self.kernel_ns += duration
        sums = self.phases.setdefault((phase, item.name), [0, 0, 0])
        sums[0] += 1
        sums[1] += duration
        sums[2] = max(sums[2], duration)

    def record(self, devices: Sequence[DeviceBusy]) -> Timeline:
        used = [row for row in self.rows.values() if row.kernels]
        used.sort(key=lambda row: (-row.kernel_ns, row.name, row.domain or ""))
        kernels = [
            PhaseKernel(phase=phase, name=name, kernels=count, total_ns=total, max_ns=longest)
            for (phase, name), (count, total, longest) in self.phases.items()
        ]
        kernels.sort(key=lambda row: (-row.total_ns, row.phase, row.name))
        return Timeline(
            devices=tuple(devices),
            kernels=self.kernels,
            kernel_ns=self.kernel_ns,
            ranges=tuple(_range_work(row) for row in used[:MOST_RANGES]),
            ranges_left_out=max(0, len(used) - MOST_RANGES),
            left_out_own_kernel_ns=sum(row.own_kernel_ns for row in used[MOST_RANGES:]),
            unattributed_kernels=self.outside,
            unattributed_ns=self.outside_ns,
            without_launch=self.without_launch,
            phase_kernels=tuple(kernels[:MOST_PHASE_KERNELS]),
            phase_kernels_left_out=max(0, len(kernels) - MOST_PHASE_KERNELS),
        )


def _is_phase(row: _Row) -> bool:
    return row.domain is None and row.name in PHASES


def _range_work(row: _Row) -> RangeWork:
    return RangeWork(
        name=row.name,
        domain=row.domain,
        occurrences=row.occurrences,
        kernels=row.kernels,
        kernel_ns=row.kernel_ns,
        own_kernel_ns=row.own_kernel_ns,
        span_ns=row.span_ns,
        busy_ns=row.busy_ns,
    )


def _count_only(spans: Iterator[RangeSpan], sums: _Sums) -> None:
    """The ranges of a thread that launched nothing."""
    for span in spans:
        sums.row(span)


def _sweep(items: Iterable[DeviceWork], spans: Iterator[RangeSpan], sums: _Sums) -> None:
    """Go through the launches and the ranges of one thread together.

    Ranges of one domain nest, those of different domains need not, so the open ones are kept in a heap by their end and
    in a dictionary by their start.
    """
    opened: dict[int, _Open] = {}
    by_end: list[_Open] = []
    span = next(spans, None)
    order = 0
    for item in items:
        at = item.launched_ns
        while span is not None and span.start_ns <= at:
            entry = _Open(float("inf") if span.end_ns is None else span.end_ns, order, sums.row(span))
            opened[order] = entry
            heapq.heappush(by_end, entry)
            order += 1
            span = next(spans, None)
        while by_end and by_end[0].end_ns < at:
            done = heapq.heappop(by_end)
            sums.close(opened.pop(done.order))
        sums.attribute(item, list(opened.values()))
    for entry in opened.values():
        sums.close(entry)
    if span is not None:
        sums.row(span)
        _count_only(spans, sums)
