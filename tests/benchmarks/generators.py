"""Profiler files of any size for the benchmarks, with the columns and enums of recorded files.

nsys: tables as nsys 2026.2 exports them (schema 3.25). torch: events as torch 2.9 writes them with shapes and stacks.
They share no code with the readers.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

PID = 4321
GLOBAL_PID = (1 << 48) | (PID << 24)
GLOBAL_TID = GLOBAL_PID | 4321
STEP_NS = 12_000  # from one launch to the next
KERNEL_COLUMNS = (
    "start, end, deviceId, contextId, greenContextId, streamId, correlationId, globalPid, demangledName, shortName, "
    "mangledName, launchType, cacheConfig, registersPerThread, gridX, gridY, gridZ, blockX, blockY, blockZ, "
    "staticSharedMemory, dynamicSharedMemory, localMemoryPerThread, localMemoryTotal, gridId, sharedMemoryExecuted, "
    "graphNodeId, sharedMemoryLimitConfig, qmdBulkReleaseDone, qmdPreexitDone, qmdLastCtaDone, graphId, clusterX, "
    "clusterY, clusterZ, clusterSchedulingPolicy, maxPotentialClusterSize, maxActiveClusters, "
    "sharedMemoryRequestedPercentage, tensorSizeMinusOneElements"
)
NVTX_COLUMNS = (
    "start, end, eventType, rangeId, category, color, text, globalTid, endGlobalTid, textId, domainId, uint64Value, "
    "int64Value, doubleValue, uint32Value, int32Value, floatValue, jsonTextId, jsonText, binaryData"
)
KERNELS = 40
"""Different names."""


def nsys_export(path: Path, kernels: int, calls_per_kernel: float = 1.0, ranges_per_kernel: float = 0.0) -> None:
    """Launches one after the other on one thread, in nested ranges; each kernel runs 2/3 of the time to the next."""
    path.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA synchronous = OFF")
        database.execute("PRAGMA journal_mode = OFF")
        for table, columns in (
            ("CUPTI_ACTIVITY_KIND_KERNEL", KERNEL_COLUMNS),
            (
                "CUPTI_ACTIVITY_KIND_RUNTIME",
                "start, end, eventClass, globalTid, correlationId, nameId, returnValue, callchainId",
            ),
            ("NVTX_EVENTS", NVTX_COLUMNS),
        ):
            texts = {"text", "jsonText", "binaryData", "tensorSizeMinusOneElements"}
            declared = ", ".join(f"{name} {'TEXT' if name in texts else 'INTEGER'}" for name in columns.split(", "))
            database.execute(f"CREATE TABLE {table} ({declared})")
        database.execute("CREATE TABLE StringIds (id INTEGER NOT NULL PRIMARY KEY, value TEXT NOT NULL)")
        database.execute("CREATE TABLE META_DATA_EXPORT (name TEXT NOT NULL, value TEXT)")
        database.execute("INSERT INTO META_DATA_EXPORT VALUES ('EXPORT_PRODUCT_VERSION', '2026.2.1.210')")
        names = [
            f"void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_bf16_{n}>(T1::Params)" for n in range(KERNELS)
        ]
        names += ["cudaLaunchKernel", "cudaEventRecord", *(f"aten::op{n}" for n in range(200)), "decode"]
        database.executemany("INSERT INTO StringIds VALUES (?, ?)", enumerate(names, 1))
        _fill(database, "CUPTI_ACTIVITY_KIND_KERNEL", 40, _kernel_rows(kernels))
        _fill(database, "CUPTI_ACTIVITY_KIND_RUNTIME", 8, _call_rows(kernels, round(kernels * calls_per_kernel)))
        _fill(database, "NVTX_EVENTS", 20, _range_rows(kernels, round(ranges_per_kernel)))


def _fill(database: sqlite3.Connection, table: str, columns: int, rows: Iterator[tuple[object, ...]]) -> None:
    database.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * columns)})", rows)


def _kernel_rows(kernels: int) -> Iterator[tuple[object, ...]]:
    for n in range(kernels):
        start = 1_000_000_000 + n * STEP_NS + 7_000
        fixed = (None, 1, 0, 168, 132, 1, 1, 128, 1, 1, 0, 99_328, 0, 0, n, 102_400, None)
        rest = (0, 0, 0, 0, None, 0, 0, 0, None, None, None, None, None)
        name = 1 + n % KERNELS
        yield (start, start + 8_000, 0, 1, 0, 7, n + 1, GLOBAL_PID, name, name, *fixed[:1], *fixed[1:], *rest)


def _call_rows(kernels: int, calls: int) -> Iterator[tuple[object, ...]]:
    launch, other = KERNELS + 1, KERNELS + 2
    extra = calls - kernels
    for n in range(kernels):
        start = 1_000_000_000 + n * STEP_NS
        yield (start + 2_000, start + 5_000, 0, GLOBAL_TID, n + 1, launch, 0, None)
        if n < extra:
            yield (start + 6_000, start + 6_500, 0, GLOBAL_TID, kernels + n + 1, other, 0, None)


def _range_rows(kernels: int, depth: int) -> Iterator[tuple[object, ...]]:
    """`depth` nested ranges around every launch, all in one `decode`."""
    if not depth:
        return
    rest = (None,) * 9
    first = KERNELS + 3
    end = 1_000_000_000 + kernels * STEP_NS
    yield (999_999_000, end, 59, None, None, None, None, GLOBAL_TID, None, first + 200, 0, *rest)
    for n in range(kernels):
        start = 1_000_000_000 + n * STEP_NS
        for level in range(depth):
            name = first + (n + 7 * level) % 200
            inner = (start + 100 * level, start + 11_000 - 100 * level)
            yield (*inner, 59, None, None, None, None, GLOBAL_TID, None, name, 0, *rest)


def torch_trace(path: Path, events: int) -> None:
    """An operator with shapes, its launch, its kernel, arrows and Python frames, again and again; plain JSON."""
    head = '{"schemaVersion": 1, "deviceProperties": [{"id": 0, "name": "NVIDIA H100 80GB HBM3"}], "traceEvents": [\n'
    with path.open("w", encoding="utf-8") as file:
        file.write(head)
        for number, event in enumerate(_torch_events(events)):
            file.write((",\n" if number else "") + json.dumps(event))
        file.write("\n]}\n")


def torch_ranks(folder: Path, ranks: int, events: int) -> None:
    """Traces of ranks of one job as of `torch_trace`, with an all-reduce for every 25 kernels, all the same but
    for their ranks."""
    folder.mkdir(exist_ok=True)
    every = 25
    talks = "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)"
    meta = {"Collective name": "allreduce", "Process Group Name": "3", "Group size": ranks}
    body = []
    for number, event in enumerate(_torch_events(events)):
        args = event.get("args")
        if event.get("cat") == "kernel" and isinstance(args, dict) and number // 6 % every == 0:
            event |= {"name": talks, "args": {**args, **meta}}
        body.append(json.dumps(event))
    head = '{"schemaVersion": 1, "deviceProperties": [{"id": 0, "name": "NVIDIA H100 80GB HBM3"}], "distributedInfo": '
    for rank in range(ranks):
        job = json.dumps({"backend": "nccl", "rank": rank, "world_size": ranks})
        with (folder / f"rank-{rank}.json").open("w", encoding="utf-8") as file:
            file.write(f'{head}{job}, "traceEvents": [\n')
            file.write(",\n".join(body))
            file.write("\n]}\n")


def _torch_events(events: int) -> Iterator[dict[str, object]]:
    dims = [[16, 559, 1024], [1024, 2816], [], [16, 559, 2816]]
    for n in range(1, events // 6 + 1):
        start = 1_428_625_746_277.125 + 12 * n
        host = {"ph": "X", "pid": PID, "tid": PID}
        shapes = {"Concrete Inputs": ["", "", "1", ""], "Input type": ["c10::BFloat16"] * 4, "Input Dims": dims}
        ids = {"External id": n, "Record function id": 0, "Ev Idx": n}
        yield {
            **host, "cat": "python_function", "name": f"transformers/models/qwen2/modeling_qwen2.py({n % 97}): forward",
            "ts": start - 0.5, "dur": 11.25, "args": {"Python parent id": n - 1, "Python id": n, "Ev Idx": n},
        }  # fmt: skip
        strides = {"Input Strides": [[572416, 1024, 1], [1, 1024], [], [1574144, 2816, 1]]}
        yield {
            **host, "cat": "cpu_op", "name": f"aten::op{n % 97}", "ts": start, "dur": 8.801,
            "args": {**ids, **shapes, **strides},
        }  # fmt: skip
        launch = {"External id": n, "cbid": 211, "correlation": n}
        yield {**host, "cat": "cuda_runtime", "name": "cudaLaunchKernel", "ts": start + 1, "dur": 3.8, "args": launch}
        yield {"ph": "s", "id": n, "pid": PID, "tid": PID, "ts": start + 1, "cat": "ac2g", "name": "ac2g"}
        name = f"void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_bf16_128x64_{n % KERNELS}>(T1::Params)"
        sizes = {"registers per thread": 168, "shared memory": 99328, "blocks per SM": 1.33, "warps per SM": 5.33}
        shape = {"grid": [11, 16, 1], "block": [128, 1, 1], "est. achieved occupancy %": 8}
        where = {"External id": n, "queued": 0, "device": 0, "context": 1, "stream": 7, "correlation": n}
        device = {"ph": "X", "cat": "kernel", "name": name, "pid": 0, "tid": 7, "ts": start + 7, "dur": 8.0}
        yield {**device, "args": {**where, **sizes, **shape}}
        yield {"ph": "f", "id": n, "pid": 0, "tid": 7, "ts": start + 7, "cat": "ac2g", "name": "ac2g", "bp": "e"}
