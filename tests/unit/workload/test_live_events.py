"""What the profiler holds in memory, as tables, against a brute-force truth."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import DeviceType  # type: ignore[attr-defined]
from torch.cuda import graph_annotations

from llm_perf_opt.captures.timeline import analyse
from llm_perf_opt.records.tables import KernelRow, OperatorRow
from llm_perf_opt.stages.torch_profiler.child_events import live_events
from llm_perf_opt.workload.graph_modules import annotated_modules


@dataclass(eq=False)
class Event:
    """A Kineto event by hand."""

    label: str
    start: int
    duration: int
    thread: int = 1
    on: DeviceType = DeviceType.CPU
    correlation: int = 0
    linked: int = 0
    annotation: bool = False
    activity: str = "cpu_op"
    metadata: str = ""
    children: list[Event] = field(default_factory=list)

    def metadata_json(self) -> str:
        return self.metadata

    def name(self) -> str:
        return self.label

    def start_ns(self) -> int:
        return self.start

    def duration_ns(self) -> int:
        return self.duration

    def start_thread_id(self) -> int:
        return self.thread

    def device_type(self) -> DeviceType:
        return self.on

    def correlation_id(self) -> int:
        return self.correlation

    def linked_correlation_id(self) -> int:
        return self.linked

    def is_user_annotation(self) -> bool:
        return self.annotation

    def is_python_function(self) -> bool:
        return self.activity == "python_function"

    def activity_type(self) -> str:
        if self.on == DeviceType.CPU or self.activity != "cpu_op":
            return self.activity
        return "gpu_user_annotation" if self.annotation else "kernel"

    def device_index(self) -> int:
        return 0

    def device_resource_id(self) -> int:
        return 7

    def shapes(self) -> list[list[int]]:
        return [[1]]


@dataclass
class Tables:
    operators: dict[tuple[str, str, str], OperatorRow]
    kernels: dict[tuple[str, str], KernelRow]


def fold(events: Sequence[Event]) -> Tables:
    found = analyse(live_events(events), "memory")
    return Tables(
        {(row.phase, row.name, row.input_shapes): row for row in found.operators()},
        {(row.phase, row.name): row for row in found.kernels()},
    )


NAMES = st.sampled_from(["aten::mm", "aten::add", "prefill", "decode", "module"])
SHAPES = st.recursive(
    st.tuples(NAMES, st.integers(1, 5), st.just(())),
    lambda children: st.tuples(NAMES, st.integers(1, 5), st.lists(children, max_size=3).map(tuple)),
    max_leaves=12,
)


def lay_out(shape: Any, start: int, thread: int) -> Event:
    """A tree of properly nested events: children follow one another inside their parent."""
    name, own, children = shape
    event = Event(name, start, 0, thread)
    at = start + own
    for child in children:
        made = lay_out(child, at, thread)
        event.children.append(made)
        at += made.duration + own
    event.duration = max(at - start, 1)
    return event


def walk(event: Event, phase: str, above: Sequence[tuple[str, str]]) -> Any:
    phase = event.label if event.label in ("prefill", "decode") else phase
    yield event, phase, above
    for child in event.children:
        yield from walk(child, phase, [*above, (phase, event.label)])


@given(st.lists(st.tuples(SHAPES, st.integers(1, 2)), max_size=5), st.randoms())
def test_it_equals_the_sums_over_the_trees(shapes: list[tuple[Any, int]], shuffler: Any) -> None:
    roots, clock = [], {1: 0, 2: 0}
    for shape, thread in shapes:
        root = lay_out(shape, clock[thread], thread)
        clock[thread] = root.start + root.duration
        roots.append(root)
    calls: dict[Any, int] = defaultdict(int)
    own: dict[Any, int] = defaultdict(int)
    total: dict[Any, int] = defaultdict(int)
    events = []
    for root in roots:
        for event, phase, above in walk(root, "outside", []):
            key = (phase, event.label, "")
            calls[key] += 1
            own[key] += event.duration - sum(child.duration for child in event.children)
            total[key] += event.duration if (phase, event.label) not in above else 0
            events.append(event)
    shuffler.shuffle(events)
    found = fold(events).operators
    assert {key: row.calls for key, row in found.items()} == calls
    assert {key: row.self_cpu_ns for key, row in found.items()} == own
    assert {key: row.total_cpu_ns for key, row in found.items()} == total
    assert sum(own.values()) == sum(root.duration for root in roots)


def test_kernels_go_to_the_phase_and_operator_that_launched_them() -> None:
    events = [
        Event("decode", 0, 100, correlation=1),
        Event("aten::mm", 10, 20, correlation=2),
        Event("gemm", 500, 40, on=DeviceType.CUDA, correlation=99, linked=2),
        Event("gemm", 600, 60, on=DeviceType.CUDA, correlation=98, linked=2),
        Event("decode", 500, 160, on=DeviceType.CUDA, annotation=True),
        Event("Memset (Device)", 700, 5, on=DeviceType.CUDA, correlation=97, linked=0, activity="gpu_memset"),
        Event("of nobody", 800, 5, on=DeviceType.CUDA, correlation=96, linked=0),
    ]
    tables = fold(events)
    gemm = tables.kernels["decode", "gemm"]
    assert (gemm.calls, gemm.total_ns, gemm.max_ns) == (2, 100, 60)
    assert tables.kernels["outside", "of nobody"].total_ns == 5
    assert set(tables.kernels) == {("decode", "gemm"), ("outside", "of nobody")}  # a set is no kernel
    assert tables.operators["decode", "aten::mm", ""].device_ns == 100


def test_ids_of_operators_and_of_launches_are_two_series() -> None:
    events = [
        Event("prefill", 0, 50, correlation=1),
        Event("aten::mm", 10, 20, correlation=7),
        Event("decode", 100, 50, correlation=2),
        Event("cudaLaunchKernel", 110, 5, correlation=7, activity="cuda_runtime"),
        Event("of mm", 500, 40, on=DeviceType.CUDA, correlation=99, linked=7),
        Event("of the call", 600, 60, on=DeviceType.CUDA, correlation=7),
        Event("of nobody", 700, 60, on=DeviceType.CUDA),
    ]
    for order in (events, events[::-1]):
        assert set(fold(order).kernels) == {("prefill", "of mm"), ("decode", "of the call"), ("outside", "of nobody")}


def test_frames_of_python_are_no_operators() -> None:
    tables = fold([Event("forward.py(3)", 0, 100, activity="python_function"), Event("aten::mm", 10, 20)])
    assert [(row.name, row.self_cpu_ns) for row in tables.operators.values()] == [("aten::mm", 20)]


def test_a_child_that_ends_after_its_parent_takes_no_more_than_the_parent_has() -> None:
    tables = fold([Event("parent", 0, 10), Event("child", 4, 8)])
    assert {row.name: row.self_cpu_ns for row in tables.operators.values()} == {"parent": 4, "child": 8}


def test_the_label_of_the_schedule_is_no_operator() -> None:
    tables = fold([Event("ProfilerStep#2", 0, 100), Event("aten::mm", 10, 20)])
    assert list(tables.operators) == [("outside", "aten::mm", "")]


def test_kernels_of_a_graph_have_the_module_of_their_node() -> None:
    """`metadata_json` as Kineto writes it beside the fields; annotations as `get_kernel_annotations()` returns them."""
    kernels = [
        Event(
            "gemm",
            100,
            10,
            on=DeviceType.CUDA,
            correlation=3,
            metadata='"stream": 7, "graph id": 2, "graph node id": 11',
        ),
        Event("norm", 120, 5, on=DeviceType.CUDA, correlation=3, metadata='"graph id": 2, "graph node id": 12'),
        Event("eager", 130, 1, on=DeviceType.CUDA, correlation=4, metadata='"graph id": 0, "graph node id": 0'),
    ]
    launch = Event("cudaGraphLaunch", 50, 5, activity="cuda_runtime", correlation=3)
    events = live_events([launch, *kernels], annotations={11: [{"name": "model.layers.0.mlp"}], 13: [{"name": "x"}]})
    record = analyse(events, "memory").record
    assert (record.graphs.kernels, record.graphs.joined) == (2, 1)
    assert [(row.name, row.kernel_ns) for row in record.modules] == [("model.layers.0.mlp", 10)]
    assert record.outside_modules_ns == 6


def test_modules_are_annotated_while_a_graph_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Sequential(torch.nn.ReLU()))
    open_now: list[str] = []
    seen: list[tuple[str, ...]] = []

    @contextlib.contextmanager
    def mark(name: str, *, backward: bool) -> Iterator[None]:
        assert not backward
        open_now.append(name)
        seen.append(tuple(open_now))
        yield
        assert open_now.pop() == name

    monkeypatch.setattr(graph_annotations, "mark_kernels", mark)
    with annotated_modules(model):
        model(torch.zeros(1, 2))
    assert seen == [("Sequential",), ("Sequential", "0"), ("Sequential", "1"), ("Sequential", "1", "1.0")]
    model(torch.zeros(1, 2))
    assert (open_now, len(seen)) == ([], 4)
