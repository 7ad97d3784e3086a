"""Kernels in CUDA graphs: joined to the launch that captured them, or to none; never to that of another."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_perf_opt.analysis.timeline.captures import capture_first
from llm_perf_opt.captures.timeline import Captured, analyse
from llm_perf_opt.formats import nsys_events, torch_events
from llm_perf_opt.records.columns import PYTHON, Events
from tests.unit.timeline.build import Call, Piece, Rows, Span
from tests.unit.timeline.example import event
from tests.unit.timeline.files import write_trace
from tests.unit.timeline.graph_files import (
    NODE_TABLES,
    Launch,
    NodeKernel,
    NodeRange,
    NodeRow,
    capture_rows,
    replay_rows,
    write_node_export,
)

NAMES = st.sampled_from(["gemm", "gemm", "norm", "copy"])
NODE_CHANGES = ("drop", "rename", "two originals", "round", "twice", "late")
CHANGES = ("drop", "swap", "rename", "add")


def check(captured: Captured, truths: list[int], word: str = "aten::op") -> int:
    """How many are joined; each to its own launch, and no time is lost."""
    places, record = captured.places, captured.record
    work, origins = captured.state.events.work, places.origins
    joined = origins.joined & origins.in_graph
    for row in joined.nonzero()[0].tolist():
        assert origins.words[origins.captured_in[row]] == f"{word}{truths[row]}"
    graphs = record.graphs
    assert (graphs.kernels, graphs.joined) == (int(origins.in_graph.sum()), int(joined.sum()))
    assert graphs.abstained == graphs.kernels - graphs.joined == sum(row.kernels for row in graphs.abstentions)
    assert sum(row.kernels for row in graphs.captured_in) <= graphs.joined
    total = int((work.end_ns - work.start_ns)[captured.state.trusted].sum())
    for table in (record.modules, record.module_kinds):
        assert sum(row.own_kernel_ns for row in table) + record.outside_modules_ns == total
    return graphs.joined


@st.composite
def captures(draw: st.DrawFn) -> list[Launch]:
    streams = draw(st.sampled_from([1, 1, 2, 3]))
    kernels = draw(st.lists(st.tuples(NAMES, st.integers(0, streams - 1)), min_size=1, max_size=8))
    return [Launch(name, stream, number) for number, (name, stream) in enumerate(kernels)]


def changed(launches: list[Launch], change: str, at: int, name: str) -> list[Launch]:
    """One contradiction, at one launch; or the same list where it makes none."""
    at %= len(launches)
    one = launches[at]
    if change == "drop":
        return [*launches[:at], *launches[at + 1 :]]
    if change == "add":
        return [*launches[:at], dataclasses.replace(one, kernel=name, truth=99), *launches[at:]]
    if change == "rename":
        return [*launches[:at], dataclasses.replace(one, kernel=name), *launches[at + 1 :]]
    later = next((other for other in range(at + 1, len(launches)) if launches[other].stream == one.stream), at)
    swapped = list(launches)
    swapped[at], swapped[later] = (
        dataclasses.replace(one, kernel=launches[later].kernel),
        dataclasses.replace(launches[later], kernel=one.kernel),
    )
    return swapped


@given(captures(), st.tuples(st.booleans(), st.booleans(), st.booleans()), st.integers(1, 3), st.integers(0, 9))
def test_a_replay_is_joined_to_its_capture(
    launches: list[Launch], what: tuple[bool, bool, bool], replays: int, seed: int
) -> None:
    says, edges, eager = what
    rows, truths = replay_rows(launches, replays)
    capture = capture_rows(launches, says_streams=says, edges=edges, eager=eager and edges)
    captured = analyse(rows.events(), "replay", capture=capture.events(seed))
    joined = check(captured, truths)
    if len({launch.stream for launch in launches}) == 1:
        assert joined == len(truths)
    streams = {
        launch.stream: [other.kernel for other in launches if other.stream == launch.stream] for launch in launches
    }
    if says and len({tuple(names) for names in streams.values()}) == len(streams):
        assert joined == len(truths)


@given(
    captures(),
    st.booleans(),
    st.tuples(st.sampled_from(CHANGES), st.integers(0, 7), st.sampled_from(["gemm", "other"])),
    st.booleans(),
    st.integers(1, 2),
)
def test_what_contradicts_is_joined_to_nothing(
    launches: list[Launch], says: bool, change: tuple[str, int, str], in_capture: bool, replays: int
) -> None:
    other = changed(launches, *change)
    said, ran = (other, launches) if in_capture else (launches, other)
    if [launch.kernel for launch in said] == [launch.kernel for launch in ran] or not other:
        return  # nothing that could be seen
    rows, truths = replay_rows(ran, replays)
    record = analyse(rows.events(), "replay", capture=capture_rows(said, says_streams=says).events()).record
    assert (record.graphs.joined, record.graphs.abstained) == (0, len(truths))
    (abstention,) = record.graphs.abstentions
    assert abstention.where is not None
    assert abstention.where.startswith("launch 1 of a graph (correlation id 500), ")


def test_where_it_contradicts_is_said() -> None:
    launches = [Launch("gemm", 0, 0), Launch("norm", 0, 1), Launch("gemm", 0, 2)]
    rows, _ = replay_rows(launches)
    short = capture_rows([launches[0], launches[2]], says_streams=False).events()
    (row,) = analyse(rows.events(), "replay", capture=short).record.graphs.abstentions
    assert row.reason == "what it ran is not what was captured"
    assert row.where == (
        "launch 1 of a graph (correlation id 500), kernel 2: captured gemm, ran norm (2 captured, 3 ran)"
    )
    (row,) = analyse(rows.events(), "replay").record.graphs.abstentions
    assert (row.kernels, row.where) == (3, None)
    assert row.reason.startswith("its capture is not in the files")


def joined_captures(*captured: Rows) -> Rows:
    """One after the other."""
    found = Rows()
    for number, rows in enumerate(captured):
        by = 10_000 * number
        found.calls += [
            dataclasses.replace(row, start=row.start + by, end=row.end + by, correlation=row.correlation + by)
            for row in rows.calls
        ]
        found.spans += [dataclasses.replace(row, start=row.start + by, end=row.end + by) for row in rows.spans]
    return found


def test_of_several_captures_the_one_that_fits_is_taken() -> None:
    first = [Launch("gemm", 0, 0), Launch("norm", 0, 1)]
    second = [Launch("gemm", 0, 2), Launch("copy", 0, 3)]
    several = joined_captures(*(capture_rows(one, says_streams=False) for one in (first, second)))
    for launches in (first, second):
        rows, truths = replay_rows(launches)
        assert check(analyse(rows.events(), "replay", capture=several.events()), truths) == 2
    twin = joined_captures(
        *(capture_rows(one, says_streams=False) for one in (first, [Launch("gemm", 0, 8), first[1]]))
    )
    rows, _ = replay_rows(first)
    (row,) = analyse(rows.events(), "replay", capture=twin.events()).record.graphs.abstentions
    assert row.reason == "several captures fit it that were made in different places"


def test_a_capture_in_the_file_of_the_replay_is_found() -> None:
    launches = [Launch("gemm", 0, 0), Launch("norm", 0, 1)]
    rows, truths = replay_rows(launches, 2)
    capture = capture_rows(launches, says_streams=False)
    rows.calls, rows.spans = [*rows.calls, *capture.calls], [*rows.spans, *capture.spans]
    assert check(analyse(rows.events(), "both"), truths) == 4


def test_a_kernel_whose_times_cannot_be_takes_its_replay_with_it() -> None:
    launches = [Launch("gemm", 0, 0), Launch("norm", 0, 1)]
    rows, _ = replay_rows(launches, 2)
    rows.work[0] = dataclasses.replace(rows.work[0], end=rows.work[0].start)
    record = analyse(rows.events(), "r", capture=capture_rows(launches, says_streams=False).events()).record
    assert (record.graphs.joined, record.graphs.abstained) == (2, 2)
    assert "the order of its kernels is not known" in record.graphs.abstentions[0].reason


def test_a_pair_is_told_by_process_and_content() -> None:
    launches = [Launch("gemm", 0, 0)]
    capture, replay = capture_rows(launches, says_streams=False).events(), replay_rows(launches)[0].events()
    assert (capture_first(capture, replay), capture_first(replay, capture)) == (True, False)
    assert capture_first(replay, replay) is None
    assert capture_first(capture, capture) is None
    both = capture_rows(launches, says_streams=False)
    both.calls += replay_rows(launches)[0].calls
    assert (capture_first(both.events(), replay), capture_first(replay, both.events())) == (True, False)
    replay.about.rank, capture.about.rank = 0, 1
    assert capture_first(capture, replay) is None
    capture.about.rank = None
    capture.processes = [dataclasses.replace(capture.processes[0], pid=999)]
    assert capture_first(capture, replay) is None


def test_annotations_of_nodes_come_first(tmp_path: Path) -> None:
    """As torch 2.15 bakes `torch.cuda.graph_annotations` into a trace (torch/profiler/_chrome_trace_export.py): keys of
    the annotation stand beside `graph node id` in `args`, a plain text as `name`."""

    def kernel(called: str, start: float, **args: Any) -> dict[str, Any]:
        return {**event("kernel", called, start, 5.0, pid=0, tid=7), "args": {"device": 0, "stream": 7, **args}}

    def node(number: int, **annotation: Any) -> dict[str, Any]:
        return {"correlation": 7, "graph id": 3, "graph node id": number, **annotation}

    events = [
        event("cuda_runtime", "cudaGraphLaunch", 10.0, 2.0, correlation=7),
        kernel("gemm", 20.0, **node(11, name="layers.0.mlp")),
        kernel("norm", 30.0, **node(12, str="layers.1.norm")),
        kernel("copy", 40.0, **node(13)),
        kernel("eager", 50.0, correlation=8, name="layers.9"),
    ]
    write_trace(tmp_path / "trace.json", events)
    record = analyse(torch_events.read_events(tmp_path / "trace.json"), "trace").record
    assert (record.graphs.kernels, record.graphs.joined, record.graphs.abstained) == (3, 2, 1)
    assert record.graphs.abstentions[0].reason == "its node was not annotated, as others were"
    assert sorted(row.name for row in record.modules) == ["layers.0.mlp", "layers.1.norm"]
    assert sorted(row.name for row in record.module_kinds) == ["layers.*.mlp", "layers.*.norm"]
    assert record.outside_modules_ns == 10_000


@st.composite
def node_exports(draw: st.DrawFn) -> tuple[list[NodeKernel], list[NodeRow], list[NodeRange]]:
    """Two processes that use the same ids, graphs that are copied once or twice, each node captured in a range."""
    kernels: list[NodeKernel] = []
    nodes: list[NodeRow] = []
    ranges: list[NodeRange] = []
    for process in range(draw(st.integers(1, 2))):
        names = draw(st.lists(NAMES, min_size=1, max_size=4))
        clones, start = draw(st.integers(0, 2)), 1000 + 100_000 * process
        ranges.append(NodeRange(start - 10, start + 100 * len(names), "whole", process))
        for at in range(len(names)):
            truth = 10 * process + at
            made = start + 100 * at + 50
            ranges.append(NodeRange(made - 20, made + 20, f"layer.{truth}", process))
            nodes.append(NodeRow(1 + at, None, made, process))
            # A copy has a row as every node has, and one that says of which it is a copy.
            nodes += [NodeRow(1 + at + 100 * copy, 1 + at + 100 * (copy - 1), 9000, process)
                      for copy in range(1, clones + 1)]  # fmt: skip
            nodes += [NodeRow(1 + at + 100 * clones, None, 9000, process)] if clones and draw(st.booleans()) else []
        for replay in range(draw(st.integers(1, 2))):
            base = 50_000 + 100_000 * process + 1000 * replay
            kernels += [
                NodeKernel(base + 10 * at, 1 + at + 100 * clones, name, 1 + replay, 10 * process + at, process)
                for at, name in enumerate(names)
            ]
    return kernels, nodes, ranges


def read_export(
    kernels: list[NodeKernel], nodes: list[NodeRow], ranges: list[NodeRange], table: str = NODE_TABLES[0]
) -> Events:
    with tempfile.TemporaryDirectory() as folder:
        write_node_export(Path(folder, "run.sqlite"), kernels, nodes, ranges, table)
        return nsys_events.read_events(Path(folder, "run.sqlite"))


Export = tuple[list[NodeKernel], list[NodeRow], list[NodeRange]]


@settings(max_examples=20)
@given(node_exports(), st.sampled_from(NODE_TABLES))
def test_nodes_are_joined_to_the_range_open_at_their_capture(export: Export, table: str) -> None:
    captured = analyse(read_export(*export, table), "run")
    truths = [kernel.truth for kernel in export[0]]
    assert check(captured, truths, "layer.") == len(truths)
    times = {row.name: row.own_kernel_ns for row in captured.record.modules}
    for truth in set(truths):
        assert times[f"layer.{truth}"] == 7 * truths.count(truth)
    assert captured.record.modules[-1].name == "whole"
    assert captured.record.modules[-1].kernel_ns == 7 * len(truths)


@given(
    node_exports(), st.sampled_from(["drop", "rename", "two originals", "round", "twice", "late"]), st.integers(0, 9)
)
def test_nodes_that_contradict_are_joined_to_nothing(export: Export, change: str, at: int) -> None:
    kernels, nodes, ranges = export
    at %= len(nodes)
    row = nodes[at]
    if change == "drop":
        nodes = [*nodes[:at], *nodes[at + 1 :]]
    elif change == "two originals":
        nodes = [*nodes, dataclasses.replace(row, original=77), dataclasses.replace(row, original=78)]
    elif change == "round":
        nodes = [*nodes, dataclasses.replace(row, original=row.node)]
    elif change == "twice":
        nodes = [*nodes, dataclasses.replace(row, original=None, start=row.start + 100)]
    elif change == "late":
        nodes = [dataclasses.replace(other, start=10**6) if other is row else other for other in nodes]
    else:
        kernels = [kernel.renamed("other") if number == at % len(kernels) else kernel
                   for number, kernel in enumerate(kernels)]  # fmt: skip
    captured = analyse(read_export(kernels, nodes, ranges), "run")
    check(captured, [kernel.truth for kernel in kernels], "layer.")


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([], "captured before the recording"),
        ([NodeRow(2, None, 150)], "captured before the recording"),
        ([NodeRow(1, 2, 150), NodeRow(1, 3, 150), NodeRow(2, None, 150)], "a copy of several"),
        ([NodeRow(1, 2, 150), NodeRow(2, 1, 150)], "a copy of itself"),
        ([NodeRow(1, None, 150), NodeRow(1, None, 160)], "made several times"),
        ([NodeRow(1, None, 5000)], "made after it ran"),
        ([NodeRow(1, None, 900)], "no range and no module was open"),
        ([NodeRow(1, None, 150, process=1)], "captured before the recording"),
    ],
)
def test_why_a_node_is_joined_to_nothing(nodes: list[NodeRow], reason: str) -> None:
    record = analyse(
        read_export([NodeKernel(1000, 1, "gemm", 1, 0)], nodes, [NodeRange(100, 200, "layer.0")]), "run"
    ).record
    assert (record.graphs.kernels, record.graphs.joined, record.graphs.abstained) == (1, 0, 1)
    assert reason in record.graphs.abstentions[0].reason
    assert record.outside_modules_ns == 7


def test_modules_nest_and_kinds_count_once() -> None:
    rows = Rows(
        work=[Piece(100, 110, correlation=1), Piece(120, 125, correlation=2), Piece(130, 131, correlation=3)],
        calls=[Call(5, 6, correlation=1), Call(15, 16, correlation=2), Call(45, 46, correlation=3)],
        spans=[
            Span(0, 30, name="nn.Module: Block_0", kind=PYTHON),
            Span(4, 8, name="nn.Module: Block_1", kind=PYTHON),
            Span(14, 18, name="sam"),
            Span(40, 50, name="nn.Module_like", kind=PYTHON),
        ],
    )
    record = analyse(rows.events(), "trace").record
    found = {row.name: (row.kernels, row.kernel_ns, row.own_kernels, row.own_kernel_ns) for row in record.modules}
    assert found == {"Block_0": (2, 15, 0, 0), "Block_1": (1, 10, 1, 10), "sam": (1, 5, 1, 5)}
    kinds = {row.name: (row.instances, row.kernels, row.kernel_ns, row.own_kernel_ns) for row in record.module_kinds}
    assert kinds == {"Block": (2, 2, 15, 10), "sam": (1, 1, 5, 5)}
    assert record.outside_modules_ns == 1
    deep = [Span(n, 10**6 - n, name=f"nn.Module: Block_{n % 5}", kind=PYTHON) for n in range(4_000)]
    rows = Rows(work=[Piece(0, 7, correlation=1)], calls=[Call(500_000, 500_001, correlation=1)], spans=deep)
    assert [row.kernel_ns for row in analyse(rows.events(), "deep").record.modules] == [7] * 5


def test_the_operator_is_found_through_ranges_inside_it() -> None:
    rows = Rows(
        work=[Piece(100, 110, correlation=1), Piece(120, 125, correlation=2)],
        calls=[Call(5, 6, correlation=1), Call(45, 46, correlation=2)],
        spans=[
            Span(0, 30),
            Span(2, 20, name="step", kind=2),
            Span(3, 15, name="inner", kind=2),
            Span(40, 50, kind=2, name="r"),
        ],
    )
    captured = analyse(rows.events(), "trace")
    names = captured.state.events.names
    assert [names[name] if name >= 0 else None for name in captured.places.operator.tolist()] == ["aten::mm", None]


def test_the_recorded_pair(shared_data: Path) -> None:
    folder = shared_data / "torch"
    capture, replay = (
        torch_events.read_events(folder / f"vllm-decode-full-graph{end}.json.gz") for end in (".capture", "")
    )
    assert (capture_first(capture, replay), capture_first(replay, capture)) == (True, False)
    record = analyse(replay, "replay", capture=capture).record
    assert (record.graphs.kernels, record.graphs.joined, record.graphs.abstained) == (421, 421, 0)
    total = sum(device.kernel_ns for device in record.devices)
    assert sum(row.own_kernel_ns for row in record.modules) + record.outside_modules_ns == total
