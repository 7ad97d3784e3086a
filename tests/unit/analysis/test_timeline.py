"""Attribution of kernels to ranges, against going through every pair of a kernel and a range."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.launched import OUTSIDE, PHASES, busy_of, timeline
from llm_perf_opt.records.timeline import DeviceWork, RangeSpan, RangeWork

NAMES = ("prefill", "decode", "a", "b")
TIMES = st.integers(0, 30)

intervals = st.lists(st.tuples(TIMES, st.integers(1, 10)).map(lambda at: (at[0], at[0] + at[1])), max_size=12)
spans = st.builds(
    lambda thread, start, length, name, domain: RangeSpan(
        thread, start, None if length is None else start + length, name, domain
    ),
    st.integers(1, 3),
    TIMES,
    st.none() | st.integers(0, 30),
    st.sampled_from(NAMES),
    st.sampled_from((None, "mine")),
)
work = st.builds(
    lambda thread, at, start, length: DeviceWork(start, start + length, f"k{length % 3}", thread, at if thread else 0),
    st.none() | st.integers(1, 3),
    TIMES,
    TIMES,
    st.integers(1, 10),
)


def union_length(found: Sequence[tuple[int, int]]) -> int:
    return len({moment for start, end in found for moment in range(start, end)})


def opened(span: RangeSpan, item: DeviceWork) -> bool:
    return (
        span.thread == item.thread
        and span.start_ns <= item.launched_ns
        and (span.end_ns is None or span.end_ns >= item.launched_ns)
    )


def in_order(found: Sequence[RangeSpan]) -> list[RangeSpan]:
    return sorted(found, key=lambda span: (span.thread, span.start_ns, -(span.end_ns or 10**9)))


def by_launch(found: Sequence[DeviceWork]) -> list[DeviceWork]:
    return sorted(found, key=lambda item: (item.thread or -1, item.launched_ns, *item[:3]))


@given(intervals)
def test_busy_time_is_the_union(found: list[tuple[int, int]]) -> None:
    busy = busy_of(0, sorted(found))
    assert busy.busy_ns == union_length(found)
    assert busy.activity_ns == sum(end - start for start, end in found)
    assert busy.span_ns == (max(end for _, end in found) - min(start for start, _ in found) if found else 0)


@given(st.lists(work, max_size=12), st.lists(spans, max_size=8))
def test_attribution_is_that_of_every_pair(items: list[DeviceWork], ranges: list[RangeSpan]) -> None:
    ranges = in_order(ranges)
    found = timeline(by_launch(items), ranges, ())
    around = {id(item): [span for span in ranges if opened(span, item)] for item in items}
    own: dict[tuple[str, str | None], int] = defaultdict(int)
    phases: dict[tuple[str, str], int] = defaultdict(int)
    for item in items:
        inside = around[id(item)]
        if inside:
            own[inside[-1].name, inside[-1].domain] += item.end_ns - item.start_ns
        named = [span.name for span in inside if span.domain is None and span.name in PHASES]
        phases[named[-1] if named else OUTSIDE, item.name] += item.end_ns - item.start_ns
    rows: dict[tuple[str, str | None], RangeWork] = {(row.name, row.domain): row for row in found.ranges}
    for key, row in rows.items():
        same = [span for span in ranges if (span.name, span.domain) == key]
        within = [item for item in items if any(opened(span, item) for span in same)]
        assert (row.occurrences, row.kernels) == (len(same), len(within))
        assert row.kernel_ns == sum(item.end_ns - item.start_ns for item in within)
        assert row.own_kernel_ns == own[key]
        # A kernel counts for the earliest open occurrence of a name.
        each = [
            [item[:2] for item in within if next(other for other in same if opened(other, item)) is span]
            for span in same
        ]
        assert row.busy_ns == sum(map(union_length, each))
        assert row.span_ns == sum(max(end for _, end in part) - min(part)[0] for part in each if part)
    assert {(row.phase, row.name): row.total_ns for row in found.phase_kernels} == phases
    assert sum(row.own_kernel_ns for row in found.ranges) + found.unattributed_ns == found.kernel_ns
    assert found.unattributed_kernels == sum(not inside for inside in around.values())
    assert found.without_launch == sum(item.thread is None for item in items)


def test_what_is_left_out_still_adds_up() -> None:
    ranges = [RangeSpan(1, 10 * index, 10 * index + 5, f"step[{index}]", None) for index in range(300)]
    items = [DeviceWork(10 * index, 10 * index + 3, "k", 1, 10 * index + 1) for index in range(300)]
    found = timeline(items, ranges, ())
    assert (len(found.ranges), found.ranges_left_out) == (100, 200)
    assert sum(row.own_kernel_ns for row in found.ranges) + found.left_out_own_kernel_ns == found.kernel_ns == 900
