"""The same questions answered nanosecond by nanosecond and row by row, without any of the code under test."""

from __future__ import annotations

import re
from collections import Counter

from llm_perf_opt.records.columns import COPY, GRAPH, KERNEL, OPERATOR, PYTHON, SET
from tests.unit.timeline.build import Call, Piece, Rows, Span

CAUSES = (
    "launch_not_recorded", "host_blocking_call", "host_operator", "host_range", "host_python", "host_unrecorded",
    "launch_call", "launch_latency", "device_turnaround", "dependency", "no_later_work",
)  # fmt: skip


def trusted(rows: Rows) -> list[Piece]:
    host = [call.start for call in rows.calls] + [span.start for span in rows.spans]

    def sound(piece: Piece) -> bool:
        late_host = bool(host) and min(host) > 0 and piece.start == 0
        return piece.end > piece.start and not late_host

    def contains(one: Piece, other: Piece) -> bool:
        same_stream = (one.process, one.device, one.stream) == (other.process, other.device, other.stream)
        return same_stream and one.start < other.start and other.end <= one.end

    kept = [piece for piece in rows.work if sound(piece)]
    return [
        piece
        for piece in kept
        if piece.kind == GRAPH or not any(other.kind == KERNEL and contains(piece, other) for other in kept)
    ]


def call_of(rows: Rows, piece: Piece) -> Call | None:
    mine = [
        call
        for call in rows.calls
        if piece.correlation > 0
        and call.correlation == piece.correlation
        and rows.threads[call.thread] == piece.process
    ]
    return min(mine, key=lambda call: call.start, default=None)


def around(spans: list[Span], thread: int, time: int) -> list[Span]:
    """The open ones, by start and falling end."""
    found = [span for span in spans if span.thread == thread and span.start <= time < span.end]
    return sorted(found, key=lambda span: (span.start, -span.end))


def state_at(pieces: list[Piece], device: int, time: int) -> str:
    """compute, communication, copy or idle: what counts first."""
    running = [piece for piece in pieces if piece.device == device and piece.start <= time < piece.end]
    kinds = {part(piece) for piece in running}
    return next((kind for kind in ("compute", "communication", "copy") if kind in kinds), "idle")


def part(piece: Piece) -> str:
    if piece.kind in (COPY, SET):
        return "copy"
    return "communication" if piece.kind == KERNEL and "nccl" in piece.name else "compute"


def running(pieces: list[Piece], device: int, time: int, kind: str) -> bool:
    return any(p.device == device and p.start <= time < p.end and part(p) == kind for p in pieces)


def host_state(rows: Rows, thread: int, time: int) -> str:
    """What a thread is in at one nanosecond."""
    blocking = re.compile("Synchronize|Malloc")
    if any(c.thread == thread and c.start <= time < c.end and blocking.search(c.name) for c in rows.calls):
        return "host_blocking_call"
    open_ones = around(rows.spans, thread, time)
    if any(span.kind == OPERATOR for span in open_ones):
        return "host_operator"
    if not open_ones:
        return "host_unrecorded"
    innermost = [s for s in open_ones if (s.start, s.end) == (open_ones[-1].start, open_ones[-1].end)]
    kinds = {"host_python" if span.kind == PYTHON else "host_range" for span in innermost}
    return kinds.pop() if len(kinds) == 1 else "either"


def idle_cause(rows: Rows, pieces: list[Piece], device: int, time: int) -> set[str]:
    """The causes that an idle nanosecond may have: several where works that start together differ."""
    mine = [piece for piece in pieces if piece.device == device]
    later = [piece for piece in mine if piece.start > time]
    if not later:
        return {"no_later_work"}
    first = min(piece.start for piece in later)
    ends = [piece.end for piece in mine if piece.end <= time]
    gap_start = max(ends, default=-(10**9))
    enders = [piece for piece in later if piece.start == first]
    calls = {piece: call_of(rows, piece) for piece in enders}
    recorded = [piece for piece in enders if calls[piece] is not None]
    if not recorded:
        return {"launch_not_recorded"}
    earliest = min(calls[piece].start for piece in recorded)  # type: ignore[union-attr]
    causes: set[str] = set()
    for piece in recorded:
        call = calls[piece]
        assert call is not None
        if call.start != earliest:
            continue
        if time < call.start:
            state = host_state(rows, call.thread, time)
            causes |= {"host_python", "host_range"} if state == "either" else {state}
        elif time < call.end:
            causes.add("launch_call")
        elif waits_at(rows, piece, time):
            causes.add("dependency")
        else:
            causes.add("launch_latency" if call.end >= gap_start else "device_turnaround")
    return causes


def waits_at(rows: Rows, piece: Piece, time: int) -> bool:
    streams = {(p.process, p.device, p.stream) for p in rows.work}

    def of(process: int, device: int, stream: int) -> tuple[int, int, int] | None:
        if (process, device, stream) in streams:
            return process, device, stream
        several = [key for key in streams if (key[0], key[2]) == (process, stream)]
        return several[0] if len(several) == 1 else None

    mine = (piece.process, piece.device, piece.stream)
    return any(w.start <= time < w.end and of(w.process, w.device, w.stream) == mine for w in rows.waits)


def self_times(rows: list[Span]) -> Counter[tuple[int, str]]:
    """Of each (thread, name) the nanoseconds in which it is innermost."""
    found: Counter[tuple[int, str]] = Counter()
    for thread in {row.thread for row in rows}:
        for time in range(-1, 60):
            open_ones = around(rows, thread, time)
            if open_ones:
                found[thread, open_ones[-1].name] += 1
    return found
