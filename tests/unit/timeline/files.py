"""Writes a small time line as the tools write theirs: an nsys SQLite export, a trace of torch.profiler."""

from __future__ import annotations

import contextlib
import json
import random
import sqlite3
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from llm_perf_opt.records.columns import ANNOTATION, COPY, GRAPH, KERNEL, OPERATOR, PUSH_POP, PYTHON, SET
from tests.unit.timeline.build import Rows

TABLES = {
    "CUPTI_ACTIVITY_KIND_KERNEL": "start, end, deviceId, streamId, correlationId, globalPid, demangledName, shortName",
    "CUPTI_ACTIVITY_KIND_GRAPH_TRACE": "start, end, deviceId, streamId, correlationId, globalPid, graphId, graphExecId",
    "CUPTI_ACTIVITY_KIND_MEMCPY": "start, end, deviceId, streamId, correlationId, globalPid, bytes, copyKind, srcKind, "
    "dstKind",
    "CUPTI_ACTIVITY_KIND_MEMSET": "start, end, deviceId, streamId, correlationId, globalPid, bytes, memKind",
    "CUPTI_ACTIVITY_KIND_RUNTIME": "start, end, globalTid, correlationId, nameId",
    "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION": "start, end, deviceId, streamId, globalPid, syncType",
    "NVTX_EVENTS": "start, end, eventType, text, globalTid, textId, domainId",
}


def global_tid(process: int, thread: int = 0) -> int:
    return (1 << 48) | ((100 + process) << 24) | thread


def write_nsys(path: Path, rows: Rows, *, seed: int | None = None, inline: bool = False) -> None:
    """Push/pop ranges only. `inline`: names of ranges stand in the rows; `seed`: rows in another order."""
    names: dict[str, int] = {}
    tables: dict[str, list[Sequence[Any]]] = {name: [] for name in TABLES}

    def name_id(text: str) -> int:
        return names.setdefault(text, len(names) + 10)

    for piece in rows.work:
        where = (piece.start, piece.end, piece.device, piece.stream, piece.correlation, global_tid(piece.process))
        size = None if piece.bytes < 0 else piece.bytes
        if piece.kind == KERNEL:
            tables["CUPTI_ACTIVITY_KIND_KERNEL"].append((*where, name_id(piece.name), name_id("short")))
        elif piece.kind == GRAPH:
            tables["CUPTI_ACTIVITY_KIND_GRAPH_TRACE"].append((*where, 3, 4))
        elif piece.kind == COPY:
            tables["CUPTI_ACTIVITY_KIND_MEMCPY"].append((*where, size, 1, 0, 2))
        else:
            tables["CUPTI_ACTIVITY_KIND_MEMSET"].append((*where, size, 2))
    for call in rows.calls:
        thread = global_tid(rows.threads[call.thread], call.thread)
        cells = (call.start, call.end, thread, call.correlation, name_id(f"{call.name}_v7000"))
        tables["CUPTI_ACTIVITY_KIND_RUNTIME"].append(cells)
    for wait in rows.waits:
        synced = (wait.start, wait.end, wait.device, wait.stream, global_tid(wait.process), 2)
        tables["CUPTI_ACTIVITY_KIND_SYNCHRONIZATION"].append(synced)
    domains: dict[tuple[int, str], int] = {}
    for span in rows.spans:
        process = rows.threads[span.thread]
        thread = global_tid(process, span.thread)
        domain = 0
        if span.domain is not None:
            # The same name has another number in each process, and the same number another name.
            domain = domains.setdefault((process, span.domain), 1 + sum(owner == process for owner, _ in domains))
        text, number = (span.name, None) if inline else (None, name_id(span.name))
        tables["NVTX_EVENTS"].append((span.start, span.end, 59, text, thread, number, domain))
    for (process, text), domain in domains.items():
        tables["NVTX_EVENTS"].append((0, None, 75, text, global_tid(process), None, domain))
    write_tables(path, tables, names, seed)


def write_tables(
    path: Path, tables: dict[str, list[Sequence[Any]]], names: dict[str, int], seed: int | None = None
) -> None:
    path.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT)")
        database.execute("CREATE TABLE META_DATA_EXPORT (name TEXT, value TEXT)")
        database.executemany("INSERT INTO StringIds VALUES (?, ?)", [(number, text) for text, number in names.items()])
        for table, found in tables.items():
            if not found:
                continue  # nsys makes tables lazily
            if seed is not None:
                random.Random(seed).shuffle(found)
            columns = ", ".join(
                f"{name} {'TEXT' if name == 'text' else 'INTEGER'}" for name in TABLES[table].split(", ")
            )
            database.execute(f"CREATE TABLE {table} ({columns})")
            marks = ", ".join("?" * len(found[0]))
            database.executemany(f"INSERT INTO {table} VALUES ({marks})", found)


CATEGORIES = {KERNEL: "kernel", COPY: "gpu_memcpy", SET: "gpu_memset"}
RANGE_CATEGORIES = {
    OPERATOR: "cpu_op",
    PYTHON: "python_function",
    ANNOTATION: "user_annotation",
    PUSH_POP: "user_annotation",
}


def trace_events(rows: Rows) -> list[dict[str, Any]]:
    """Of one process; graphs, waits and domains are not in such files."""
    events: list[dict[str, Any]] = []
    for piece in rows.work:
        args = {
            "device": piece.device,
            "stream": piece.stream,
            "correlation": piece.correlation,
            "External id": piece.external,
        }
        if piece.bytes >= 0:
            args["bytes"] = piece.bytes
        where = {"ph": "X", "cat": CATEGORIES[piece.kind], "name": piece.name, "pid": piece.device, "tid": piece.stream}
        events.append({**where, **_times(piece.start, piece.end), "args": args})
    for call in rows.calls:
        where = {"ph": "X", "cat": "cuda_runtime", "name": call.name, "pid": 100, "tid": call.thread}
        called: dict[str, Any] = {"correlation": call.correlation, "cbid": 211}
        called |= {} if call.kernel is None else {"kernel": call.kernel}  # as ROCm's calls say it
        called |= {} if call.stream < 0 else {"stream": hex(call.stream)}
        events.append({**where, **_times(call.start, call.end), "args": called})
    for span in rows.spans:
        where = {"ph": "X", "cat": RANGE_CATEGORIES[span.kind], "name": span.name, "pid": 100, "tid": span.thread}
        shapes = [[1, 2], [], "{"]
        said: dict[str, Any] = {
            "External id": span.external,
            "Input Dims": shapes,
            "said": 'a "quoted" }, { and \\ more',
        }
        events.append({**where, **_times(span.start, span.end), "args": said})
    return events


def _times(start: int, end: int) -> dict[str, float]:
    return {"ts": start / 1000, "dur": (end - start) / 1000}


def write_trace(path: Path, events: list[dict[str, Any]], **around: Any) -> None:
    path.write_text(json.dumps({"schemaVersion": 1, **around, "traceEvents": events}), encoding="utf-8")


def exact(microseconds: str) -> int:
    """Nanoseconds of a time as text."""
    return round(Decimal(microseconds) * 1000)
