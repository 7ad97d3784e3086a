"""The waterfall of a phase: its parts add up to the wall, and what cannot be said is null with its reason."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.timeline.summary import summary
from llm_perf_opt.analysis.waterfall import NO_DEVICE_WORK, StepWork, waterfall, window_of
from llm_perf_opt.records.columns import ANNOTATION, COPY
from llm_perf_opt.records.waterfall import Waterfall
from tests.unit.timeline.build import Call, Piece, Rows, Span
from tests.unit.timeline.strategies import time_lines

NOT_KNOWN = StepWork("no steps", "no bound", "no time")
NCCL = "ncclDevKernel_AllReduce"
ROWS = Rows(
    # Of 100 ns of decode: 20 of a kernel, 10 of communication of which 5 are exposed, a copy of 10, all exposed.
    work=[
        Piece(10, 30, correlation=1),
        Piece(25, 35, stream=8, name=NCCL, correlation=2),
        Piece(50, 60, kind=COPY, name="copy", correlation=3),
    ],
    calls=[Call(2, 8, correlation=1), Call(8, 9, correlation=2), Call(40, 46, correlation=3)],
    spans=[Span(0, 100, name="decode", kind=ANNOTATION), Span(35, 39)],
)


def of(rows: Rows, work: StepWork = NOT_KNOWN, phase: str = "decode") -> Waterfall:
    return waterfall(window_of(summary(rows.events()), phase), phase, work)


def added_up(found: Waterfall) -> int:
    parts = found.parts
    assert parts.idle_by_cause is not None
    known = (parts.static_bound_ns, parts.kernels_above_bound_ns, parts.exposed_communication_ns, parts.exposed_copy_ns)
    return sum(value for value in known if value is not None) + sum(parts.idle_by_cause.values())


def test_known_parts() -> None:
    found = of(ROWS, StepWork(4, 15e-9, 20e-9, "a GPU"))
    assert (found.wall_ns, found.kernel_ns, found.steps, found.occurrences) == (100, 20, 4, 1)
    parts = found.parts
    assert (parts.static_bound_ns, parts.kernels_above_bound_ns) == (15, 5)
    assert (parts.exposed_communication_ns, parts.exposed_copy_ns) == (5, 10)
    assert {cause: ns for cause, ns in (parts.idle_by_cause or {}).items() if ns} == {
        "host_range": 2 + 1,  # before the first launch, and from the operator's end to the launch of the copy
        "host_operator": 4,
        "launch_call": 6 + 6,
        "launch_latency": 2 + 4,
        "no_later_work": 40,
    }
    assert added_up(found) == 100
    assert (found.captured_step_ns, found.unprofiled_step_ns, found.cost_of_profiling_ns) == (25, 20, 5)
    assert found.cost_of_profiling_share == 0.25
    assert found.host_causes_inflated
    assert found.reasons == {}
    assert "4 captured decode steps, the static bound is 15.0 %, kernels above it 5.0 %" in found.answer
    assert "+25 % of" in found.answer
    assert "inflated" in found.answer


@given(time_lines(), st.integers(-5, 60), st.integers(0, 50), st.integers(0, 3))
def test_the_parts_add_up_to_the_wall(rows: Rows, start: int, length: int, bound: int) -> None:
    spans = [*rows.spans, Span(start, start + length, name="decode")]
    record = summary(dataclasses.replace(rows, spans=spans).events())
    found = waterfall(window_of(record, "decode"), "decode", StepWork(1, bound / 1e9, 1.0, "a GPU"))
    if found.parts.idle_by_cause is None:
        assert not any(row.name == "decode" for row in record.phases)
        return
    windows = [row for row in record.phases if row.name == "decode"]
    assert found.wall_ns == sum(row.wall_ns for row in windows)
    whole = added_up(found)
    if found.parts.kernels_above_bound_ns is None:
        assert found.kernel_ns is not None
        assert found.kernel_ns < bound or len(windows) > 1
        whole += found.kernel_ns - (found.parts.static_bound_ns or 0)
    assert whole == found.wall_ns


def test_kernels_below_the_bound_are_named_and_nothing_is_clipped() -> None:
    found = of(ROWS, StepWork(4, 21e-9, 25e-9, "a GPU"))
    assert (found.parts.static_bound_ns, found.parts.kernels_above_bound_ns, found.kernel_ns) == (21, None, 20)
    assert "below the bound" in found.reasons["kernels_above_bound_ns"]
    assert found.reasons["kernels_above_bound_ns"] in found.answer
    assert found.host_causes_inflated is False


def test_without_a_bound_kernels_are_one_part() -> None:
    found = of(ROWS)
    assert (found.parts.static_bound_ns, found.parts.kernels_above_bound_ns, found.kernel_ns) == (None, None, 20)
    assert added_up(found) + 20 == 100
    assert {found.reasons[name] for name in ("static_bound_ns", "kernels_above_bound_ns", "bound_source")} == {
        "no bound"
    }
    assert found.reasons["cost_of_profiling_ns"] == "no time"
    assert "kernels are 20.0 %" in found.answer


def test_several_gpus_have_no_bound_of_one() -> None:
    rows = dataclasses.replace(ROWS, work=[*ROWS.work, Piece(0, 50, device=1)], devices=2)
    found = of(rows, StepWork(4, 15e-9, 20e-9, "a GPU"))
    assert (found.devices, found.wall_ns, found.kernel_ns, found.parts.static_bound_ns) == (2, 200, 70, None)
    assert "2 GPUs worked" in found.reasons["static_bound_ns"]
    assert found.captured_step_ns == 50


def test_a_host_that_runs_ahead_is_said() -> None:
    rows = Rows(
        work=[Piece(20, 220, correlation=1)], calls=[Call(2, 8, correlation=1)], spans=[Span(0, 40, name="decode")]
    )
    found = of(rows)
    assert (found.kernel_ns, found.launched_kernel_ns) == (20, 200)
    assert "the host ran ahead of the device" in found.answer
    assert "ran ahead" not in of(ROWS).answer


def test_a_cpu_says_what_it_can() -> None:
    found = of(dataclasses.replace(ROWS, work=[]), StepWork(4, 15e-9, 20e-9, "a CPU"))
    assert (found.wall_ns, found.captured_step_ns, found.cost_of_profiling_ns) == (100, 25, 5)
    assert (found.parts.static_bound_ns, found.parts.idle_by_cause) == (15, None)
    assert found.reasons["idle_by_cause"] == NO_DEVICE_WORK


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_a_phase_that_was_not_captured(phase: str) -> None:
    found = of(dataclasses.replace(ROWS, spans=[]), phase=phase)
    nulls = {name for name, value in found.model_dump().items() if value is None}
    nulls |= {name for name, value in found.parts.model_dump().items() if value is None}
    assert set(found.reasons) == nulls
    assert set(found.reasons.values()) == {f"the capture has no range called {phase}"}


@given(time_lines(), st.booleans(), st.booleans(), st.booleans())
def test_every_null_has_a_reason(rows: Rows, steps: bool, bound: bool, timed: bool) -> None:
    rows = dataclasses.replace(rows, spans=[*rows.spans, Span(0, 40, name="decode")])
    found = of(rows, StepWork(3 if steps else "a", 1e-9 if bound else "b", 1e-9 if timed else "c", "a GPU"))
    nulls = {name for name, value in found.model_dump().items() if value is None}
    nulls |= {name for name, value in found.parts.model_dump().items() if value is None}
    assert nulls == set(found.reasons)
