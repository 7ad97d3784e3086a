"""A captured graph and its replays with the truth beside them, as ROCm traces and nsys exports hold them.

The truth of a kernel is the launch that captured it, which is in a range of its own number. It shares no code with the
readers.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass, replace
from pathlib import Path

from llm_perf_opt.records.columns import PYTHON
from tests.unit.timeline.build import Call, Piece, Rows, Span

GRAPH_CORRELATION = 500


@dataclass(frozen=True)
class Launch:
    """One launch of a capture; `truth` is its number and stays with it whatever is done to the others."""

    kernel: str
    stream: int
    truth: int


def capture_rows(launches: list[Launch], *, says_streams: bool, edges: bool = True, eager: bool = False) -> Rows:
    """As ROCm records a capture: the calls name their kernels, none of which runs.

    Args:
        says_streams: calls name their stream by its handle.
        edges: the calls that begin and end a capture are recorded.
        eager: one kernel is launched before the capture, and runs.
    """
    rows = Rows()
    for at, launch in enumerate(launches):
        start = 100 * (at + 1)
        handle = 0x7000 + launch.stream if says_streams else -1
        said = Call(start + 20, start + 30, name="hipLaunchKernel", kernel=launch.kernel, stream=handle)
        rows.calls.append(replace(said, correlation=10 + at))
        rows.spans += [
            Span(start + 10, start + 40, name=f"aten::op{launch.truth}"),
            Span(start, start + 50, name=f"nn.Module: Layer_{launch.truth}", kind=PYTHON),
        ]
    end = 100 * (len(launches) + 1)
    if edges:
        rows.calls += [Call(90, 95, name="hipStreamBeginCapture"), Call(end, end + 5, name="hipStreamEndCapture")]
    if eager and launches:
        rows.calls.append(Call(10, 20, name="hipLaunchKernel", correlation=5, kernel=launches[0].kernel))
        rows.work.append(Piece(30, 40, name=launches[0].kernel, correlation=5))
    return rows


def replay_rows(launches: list[Launch], replays: int = 1) -> tuple[Rows, list[int]]:
    """As ROCm records replays; of each kernel its truth."""
    rows = Rows()
    truths = []
    time = 100_000
    for number in range(replays):
        correlation = GRAPH_CORRELATION + number
        rows.calls.append(Call(time, time + 10, name="hipGraphLaunch", correlation=correlation))
        for at, launch in enumerate(launches):
            start = time + 20 + 10 * at
            rows.work.append(
                Piece(start, start + 5 + at % 3, stream=launch.stream, name=launch.kernel, correlation=correlation)
            )
            truths.append(launch.truth)
        time += 10_000
    return rows, truths


# The kernel table as rtx3080-two-kernels-nsys2026.1.sqlite declares it; all are INTEGER.
KERNEL_COLUMNS = (
    "start, end, deviceId, contextId, greenContextId, streamId, correlationId, globalPid, demangledName, shortName, "
    "mangledName, launchType, cacheConfig, registersPerThread, gridX, gridY, gridZ, blockX, blockY, blockZ, "
    "staticSharedMemory, dynamicSharedMemory, localMemoryPerThread, localMemoryTotal, gridId, sharedMemoryExecuted, "
    "graphNodeId, sharedMemoryLimitConfig, qmdBulkReleaseDone, qmdPreexitDone, qmdLastCtaDone, graphId, clusterX, "
    "clusterY, clusterZ, clusterSchedulingPolicy, maxPotentialClusterSize, maxActiveClusters, "
    "sharedMemoryRequestedPercentage"
)
# Nsight Systems User Guide, "SQLite Schema Reference": until 2023.4 the table is CUDA_GRAPH_EVENTS; in the exports of
# 2025.1 to 2026.2 graphNodeId of the kernel table references CUDA_GRAPH_NODE_EVENTS.
NODE_COLUMNS = "start, end, eventClass, globalTid, nameId, graphNodeId, originalGraphNodeId"
# h100-2gpu-nsys2026.2.sqlite.
CALL_COLUMNS = "start, end, eventClass, globalTid, correlationId, nameId, returnValue, callchainId"
# The same guide and file; eventType 59 is NvtxPushPopRange in ENUM_NSYS_EVENT_TYPE of both.
RANGE_COLUMNS = "start, end, eventType, text, globalTid, textId, domainId"
NODE_TABLES = ("CUDA_GRAPH_NODE_EVENTS", "CUDA_GRAPH_EVENTS")


@dataclass(frozen=True)
class NodeRow:
    """One row of the node table."""

    node: int
    original: int | None
    start: int
    process: int = 0


@dataclass(frozen=True)
class NodeKernel:
    start: int
    node: int | None
    name: str
    correlation: int
    truth: int
    process: int = 0

    def renamed(self, name: str) -> NodeKernel:
        return replace(self, name=name)


@dataclass(frozen=True)
class NodeRange:
    start: int
    end: int
    text: str
    process: int = 0


def global_id(process: int, thread: int = 0) -> int:
    return (1 << 48) | ((700 + process) << 24) | thread


def write_node_export(
    path: Path, kernels: list[NodeKernel], nodes: list[NodeRow], ranges: list[NodeRange], table: str = NODE_TABLES[0]
) -> None:
    """An export of a capture in node mode."""
    names: dict[str, int] = {}

    def name_id(text: str) -> int:
        return names.setdefault(text, len(names) + 1)

    columns = KERNEL_COLUMNS.split(", ")
    kernel_rows, call_rows = [], []
    launches = {(kernel.process, kernel.correlation): kernel.start for kernel in reversed(kernels)}
    for kernel in kernels:
        cells: dict[str, int | None] = dict.fromkeys(columns, 0)
        cells |= {
            "start": kernel.start, "end": kernel.start + 7, "streamId": 7, "correlationId": kernel.correlation,
            "globalPid": global_id(kernel.process), "demangledName": name_id(kernel.name),
            "shortName": name_id(kernel.name), "graphNodeId": kernel.node, "graphId": None,
        }  # fmt: skip
        kernel_rows.append([cells[name] for name in columns])
    for (process, correlation), start in launches.items():
        thread = global_id(process, 1)
        call_rows.append((start - 50, start - 40, 0, thread, correlation, name_id("cudaGraphLaunch_v10000"), 0, None))
    creation = name_id("Graph Node Creation")
    threads = {process: global_id(process, 1) for process in range(4)}
    node_rows = [(row.start, row.start, 0, threads[row.process], creation, row.node, row.original) for row in nodes]
    range_rows = [(row.start, row.end, 59, row.text, threads[row.process], None, 0) for row in ranges]
    path.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA synchronous = OFF")
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT)")
        database.execute("CREATE TABLE META_DATA_EXPORT (name TEXT, value TEXT)")
        database.executemany("INSERT INTO StringIds VALUES (?, ?)", [(number, text) for text, number in names.items()])
        for name, declared, rows in (
            ("CUPTI_ACTIVITY_KIND_KERNEL", KERNEL_COLUMNS, kernel_rows),
            ("CUPTI_ACTIVITY_KIND_RUNTIME", CALL_COLUMNS, call_rows),
            (table, NODE_COLUMNS, node_rows),
            ("NVTX_EVENTS", RANGE_COLUMNS, range_rows),
        ):
            if rows:
                kinds = (f"{column} {'TEXT' if column == 'text' else 'INTEGER'}" for column in declared.split(", "))
                database.execute(f"CREATE TABLE {name} ({', '.join(kinds)})")
                database.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(rows[0]))})", rows)
