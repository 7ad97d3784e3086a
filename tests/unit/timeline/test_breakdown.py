"""Every nanosecond of every device against brute force, and laws that hold whatever the rows."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from llm_perf_opt.analysis.timeline.breakdown import CAUSES, PARTS
from llm_perf_opt.analysis.timeline.state import analysed
from llm_perf_opt.analysis.timeline.summary import summary
from llm_perf_opt.records.columns import COPY, OPERATOR, PUSH_POP, PYTHON
from llm_perf_opt.records.device_timeline import DeviceTimeline
from tests.unit.timeline import brute
from tests.unit.timeline.build import Call, Piece, Rows, Span
from tests.unit.timeline.strategies import time_lines

WINDOWS = st.lists(st.tuples(st.integers(-5, 60), st.integers(0, 50)), min_size=1, max_size=4)


@given(time_lines(), WINDOWS)
def test_every_window_is_the_sum_of_its_nanoseconds(rows: Rows, windows: list[tuple[int, int]]) -> None:
    state = analysed(rows.events())
    pieces = brute.trusted(rows)
    for device in range(rows.devices):
        start = np.array([start for start, _ in windows])
        end = start + np.array([length for _, length in windows])
        start, end = (
            np.maximum(start, state.time.packing.first),
            np.minimum(end, state.time.packing.first + state.time.packing.span - 1),
        )
        which = np.full(len(start), device)
        parts, causes = state.time.parts(which, start, end), state.time.causes(which, start, end)
        for column, (first, last) in enumerate(zip(start.tolist(), end.tolist(), strict=True)):
            found = {name: int(parts[name][column]) for name in PARTS}
            assert found == expected_parts(pieces, device, first, last)
            idle = {cause: int(ns) for cause, ns in zip(CAUSES, causes[:, column], strict=True)}
            check_causes(rows, pieces, device, (first, last), idle)


def expected_parts(pieces: list[Piece], device: int, first: int, last: int) -> dict[str, int]:
    states = Counter(brute.state_at(pieces, device, time) for time in range(first, last))

    def covered(kind: str) -> int:
        return sum(brute.running(pieces, device, time, kind) for time in range(first, last))

    wall = max(0, last - first)
    return {
        "wall": wall,
        "busy": wall - states["idle"],
        "compute": states["compute"],
        "communication": covered("communication"),
        "exposed_communication": states["communication"],
        "copy": covered("copy"),
        "exposed_copy": states["copy"],
        "idle": states["idle"],
    }


def check_causes(rows: Rows, pieces: list[Piece], device: int, window: tuple[int, int], found: dict[str, int]) -> None:
    """Each cause has at least the nanoseconds that can be of no other, and at most those that can be of it."""
    certain: Counter[str] = Counter()
    possible: Counter[str] = Counter()
    idle = 0
    for time in range(*window):
        if brute.state_at(pieces, device, time) == "idle":
            idle += 1
            causes = brute.idle_cause(rows, pieces, device, time)
            possible.update(causes)
            if len(causes) == 1:
                certain.update(causes)
    assert sum(found.values()) == idle
    for cause, ns in found.items():
        assert certain[cause] <= ns <= possible[cause], (cause, found)


def totals(record: DeviceTimeline) -> dict[str, object]:
    """What must not change when rows are in another order."""
    return record.model_dump(exclude={"gaps"}) | {"gaps": [gap.duration_ns for gap in record.gaps]}


SAME_TIME = Rows(
    work=[Piece(10, 20, correlation=1)],
    # Ranges of two names, domains and kinds, and calls of one id, that begin and some of them end together.
    calls=[Call(2, 3, correlation=1), Call(2, 4, correlation=1), Call(2, 4, name="cudaMalloc")],
    spans=[
        Span(1, 5, name=name, kind=kind, domain=domain)
        for name, domain in (("decode", None), ("prefill", None), ("work", "alpha"), ("work", None))
        for kind in (PUSH_POP, PYTHON)
    ],
)


@given(time_lines(), st.integers(1, 5))
@example(SAME_TIME, 1)
@example(SAME_TIME, 2)
@example(SAME_TIME, 3)
def test_the_order_of_rows_and_names_does_not_matter(rows: Rows, seed: int) -> None:
    assert totals(summary(rows.events(seed))) == totals(summary(rows.events()))


@given(time_lines(), st.integers(1, 10**9))
def test_ids_count_for_each_process_by_itself(rows: Rows, by: int) -> None:
    kept = dataclasses.replace(
        rows,
        work=[dataclasses.replace(piece, correlation=piece.correlation or -1) for piece in rows.work],
        calls=[dataclasses.replace(call, correlation=call.correlation or -1) for call in rows.calls],
    )
    assert totals(summary(kept.shifted(by).events())) == totals(summary(kept.events()))


@given(time_lines())
def test_a_stranger_changes_nothing_of_a_device(rows: Rows) -> None:
    """Another process with the same ids, on a device of its own and with no host event before 0."""
    stranger = max(rows.threads) + 1
    thread = len(rows.threads)
    more = dataclasses.replace(
        rows,
        work=[
            *rows.work,
            *(
                Piece(5 + 3 * number, 7 + 3 * number, rows.devices, 0, process=stranger, correlation=number + 1)
                for number in range(5)
            ),
        ],
        calls=[
            *rows.calls,
            *(Call(3 * number + 1, 3 * number + 3, thread, correlation=number + 1) for number in range(5)),
        ],
        spans=[*rows.spans, Span(1, 30, thread, name="aten::mm")],
        threads=[*rows.threads, stranger],
        devices=rows.devices + 1,
    )
    before, after = analysed(rows.events()), analysed(more.events())
    if (before.reason != after.reason[: len(before.reason)]).any():
        return  # a start at 0 is judged by the earliest event of the host
    one, other = summary(rows.events()), summary(more.events())
    mine = [device.model_dump() for device in other.devices if device.device < rows.devices]
    assert mine == [device.model_dump() for device in one.devices]


@given(time_lines())
def test_the_tables_add_up(rows: Rows) -> None:
    record = summary(rows.events())
    pieces = brute.trusted(rows)
    whole = sum(piece.end - piece.start for piece in pieces)
    kernels = sum(piece.end - piece.start for piece in pieces if piece.kind < COPY)
    assert record.attributed_device_ns + sum(row.total_ns for row in record.unattributed) == whole
    assert sum(row.total_ns for row in record.kernels) == kernels == sum(row.total_ns for row in record.categories)
    assert sum(row.total_ns for row in record.copies) == whole - kernels
    assert len(pieces) + sum(row.count for row in record.distrusted) == len(rows.work)
    for device in record.devices:
        assert (
            device.compute_ns + device.exposed_communication_ns + device.exposed_copy_ns + device.idle_ns
            == device.wall_ns
        )
        assert sum(device.idle_by_cause.values()) == device.idle_ns
        assert device.idle_ns == (device.gaps.total_ns if device.gaps else 0)
    own = sum(row.own_kernel_ns for row in record.ranges)
    outside = kernels - own
    assert 0 <= outside <= kernels
    assert all(row.own_kernel_ns <= row.kernel_ns <= kernels for row in record.ranges)


@given(time_lines())
@example(Rows(spans=[Span(0, 10, name="a"), Span(9, 19, name="a")]))
def test_self_time_is_what_no_other_is_inside_of(rows: Rows) -> None:
    rows = dataclasses.replace(rows, spans=[*rows.spans, Span(0, 1)])  # so that there is an operator
    record = summary(rows.events())
    mine = [span for span in rows.spans if span.kind != 4 and not span.name.startswith("ProfilerStep")]
    everything = [*mine, *(Span(call.start, call.end, call.thread, call.name) for call in rows.calls)]
    expected: Counter[int] = Counter()
    for (thread, _), ns in brute.self_times(everything).items():
        expected[thread] += ns
    assert sum(row.self_host_ns for row in record.operators) == expected.total()
    for row in record.operators:
        assert 0 <= row.self_host_ns <= row.total_host_ns


def test_a_copy_is_no_kernel_and_waits_for_its_launch() -> None:
    rows = Rows(
        work=[Piece(10, 20, correlation=1), Piece(50, 60, kind=COPY, name="copy", correlation=2, bytes=100)],
        calls=[Call(1, 3, correlation=1), Call(30, 34, correlation=2, name="cudaMemcpyAsync")],
        spans=[Span(22, 29, kind=OPERATOR)],
    )
    record = summary(rows.events())
    (device,) = record.devices
    assert (device.kernels, device.copies, device.busy_ns, device.exposed_copy_ns) == (1, 1, 20, 10)
    causes = {cause: ns for cause, ns in device.idle_by_cause.items() if ns}
    assert causes == {"host_operator": 7, "host_unrecorded": 3, "launch_call": 4, "launch_latency": 16}
    assert [row.name for row in record.kernels] == ["gemm"]
    assert (record.copies[0].bytes, record.copies[0].gb_per_s) == (100, 10.0)
