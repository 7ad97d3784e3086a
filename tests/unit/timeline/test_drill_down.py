"""What lies in what, against a plain recursion over the same events."""

from __future__ import annotations

from collections import Counter, defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from llm_perf_opt.analysis.timeline import drill_down as module
from llm_perf_opt.analysis.timeline.drill_down import UNATTRIBUTED, drill_down
from llm_perf_opt.analysis.timeline.phases import find_phases
from llm_perf_opt.analysis.timeline.summary import analysed_file
from llm_perf_opt.records.columns import Events
from llm_perf_opt.records.drill_down import KIND_KERNEL, KIND_SMALLER, DrillDown
from tests.made_runs import events as made_events
from tests.made_runs import kernel_name
from tests.unit.timeline.strategies import time_lines

Way = tuple[str, ...]


def found(events: Events) -> DrillDown:
    state = analysed_file(events)
    return drill_down(state, find_phases(state), "file")


def ways(record: DrillDown) -> list[Way]:
    """The names around each path, and its own."""
    known: list[Way] = []
    for parent, name in zip(record.paths.parent, record.paths.name, strict=True):
        assert parent < len(known)
        known.append((*known[parent], record.names[name]) if parent >= 0 else (record.names[name],))
    return known


def test_every_launch_is_in_its_layer_and_phase() -> None:
    record = found(made_events(40, kernel_name))
    by_way: dict[Way, int] = defaultdict(int)
    for way, kind, calls in zip(ways(record), record.paths.kind, record.paths.calls, strict=True):
        if kind == KIND_KERNEL:
            by_way[way] += calls
    assert sum(by_way.values()) == 80
    assert {way[0] for way in by_way} == {"prefill", "decode"}
    assert all(way[-2] == "aten::mm" and len(way) in (3, 4) for way in by_way)
    assert max(Counter(way[-1] for way in by_way).values()) <= 2
    assert [name for name, _, _ in record.phases] == ["prefill", "decode"]


@settings(max_examples=30)
@given(time_lines())
def test_time_of_devices_is_all_there_and_a_path_holds_what_is_in_it(rows: object) -> None:
    state = analysed_file(rows.events())  # type: ignore[attr-defined]
    record = drill_down(state, find_phases(state), "file")
    paths = record.paths
    work = state.events.work
    total = int((work.end_ns - work.start_ns)[state.trusted].sum())
    assert sum(ns for ns, parent in zip(paths.device_ns, paths.parent, strict=True) if parent < 0) == total
    inside: dict[int, int] = defaultdict(int)
    for parent, ns in zip(paths.parent, paths.device_ns, strict=True):
        inside[parent] += ns
    for row, kind in enumerate(paths.kind):
        if kind not in (KIND_KERNEL, KIND_SMALLER) and (inside[row] or record.names[paths.name[row]] == UNATTRIBUTED):
            assert inside[row] == paths.device_ns[row]
    ranges = state.events.ranges
    outermost = sum(ns for ns, parent in zip(paths.host_ns, paths.parent, strict=True) if parent < 0)
    parents: list[int] = state.nest.parents().tolist() if len(state.nested) else []
    expected = [
        int(ranges.end_ns[row] - ranges.start_ns[row])
        for row, parent in zip(state.nested, parents, strict=True)
        if parent < 0
    ]
    assert outermost == sum(expected)
    assert len(record.drawn.name) == len(state.nested) + int(state.trusted.sum())


@given(st.integers(1, 30))
def test_what_is_left_out_is_in_a_row_of_its_own(most: int) -> None:
    events = made_events(12, kernel_name)
    whole = found(events)
    before, module.MOST_PATHS = module.MOST_PATHS, most
    try:
        record = found(events)
    finally:
        module.MOST_PATHS = before
    for column in ("host_ns", "device_ns"):
        sums = [
            sum(ns for ns, parent in zip(getattr(one.paths, column), one.paths.parent, strict=True) if parent < 0)
            for one in (whole, record)
        ]
        assert sums[0] == sums[1]
    listed = sum(kind != KIND_SMALLER for kind in record.paths.kind)
    assert listed == min(most, len(whole.paths.parent))
    assert record.paths_left_out == len(whole.paths.parent) - listed
