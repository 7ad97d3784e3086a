"""The kernels, launches and ranges of an nsys SQLite export, in the order in which they are attributed.

A launch is found by (process, correlation id): correlation ids are counted by each process for itself, so two processes
use the same ones. Exports carry no indexes; what is joined is copied into a temporary table that has one.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

from llm_perf_opt.formats.nsys_export import COPIES, GRAPHS, KERNELS, PUSH_POP, RUNTIME, domain_names, table_names
from llm_perf_opt.records.timeline import DeviceWork, RangeSpan

GRAPH_NAME = "[CUDA graph]"
# A serialized GlobalId: the thread in bits 0 to 23, the process above it.
_PROCESS = "(globalTid / 16777216 * 16777216)"
# torch.autograd.profiler.emit_nvtx numbers every call: `aten::mm, seq = 3, op_id = 999173`
# (https://github.com/pytorch/pytorch/blob/main/torch/csrc/profiler/util.cpp, getNvtxStr).
_TORCH_NUMBERS = re.compile(r", (?:seq|op_id) = \d+")


def device_numbers(connection: sqlite3.Connection) -> list[int]:
    """The devices that anything ran on."""
    union = " UNION ".join(f"SELECT DISTINCT deviceId FROM {table}" for table in _activities(connection))
    return sorted(device for (device,) in connection.execute(union)) if union else []


def device_intervals(connection: sqlite3.Connection, device: int) -> Iterator[tuple[int, int]]:
    """(start, end) of everything that ran on `device`, by rising start, ns."""
    tables = _activities(connection)
    union = " UNION ALL ".join(f"SELECT start, end FROM {table} WHERE deviceId = :device" for table in tables)
    yield from connection.execute(f"{union} ORDER BY 1", {"device": device})


def copy_ns(connection: sqlite3.Connection, device: int) -> int:
    """Durations of the copies and sets on `device`, added up."""
    present = table_names(connection)
    sums = (
        connection.execute(f"SELECT coalesce(sum(end - start), 0) FROM {table} WHERE deviceId = ?", (device,))
        for table in COPIES
        if table in present
    )
    return sum(int(total) for rows in sums for (total,) in rows)


def _activities(connection: sqlite3.Connection) -> list[str]:
    present = table_names(connection)
    return [table for table in (KERNELS, GRAPHS, *COPIES) if table in present]


def device_work(connection: sqlite3.Connection) -> Iterator[DeviceWork]:
    """Kernels and whole graphs by the thread that launched them, those without a launch first, and launch time."""
    present = table_names(connection)
    parts = []
    if KERNELS in present:
        named = "StringIds.value" if "StringIds" in present else "NULL"
        join = "LEFT JOIN StringIds ON StringIds.id = k.demangledName" if "StringIds" in present else ""
        parts.append(
            f"SELECT k.start, k.end, coalesce({named}, '[unnamed kernel]') AS name, k.globalPid, k.correlationId "
            f"FROM {KERNELS} k {join}"
        )
    if GRAPHS in present:
        parts.append(f"SELECT start, end, '{GRAPH_NAME}', globalPid, correlationId FROM {GRAPHS}")
    if not parts:
        return
    _index_launches(connection, present)
    query = f"""
        SELECT w.start, w.end, w.name, l.thread, coalesce(l.start, 0)
        FROM ({" UNION ALL ".join(parts)}) w
        LEFT JOIN temp.launches l ON l.process = w.globalPid AND l.correlation = w.correlationId
        ORDER BY l.thread, l.start, w.start, w.end, w.name
    """
    yield from map(DeviceWork._make, connection.execute(query))


def _index_launches(connection: sqlite3.Connection, present: frozenset[str]) -> None:
    """Make `temp.launches`: one row for each (process, correlation id), its earliest call."""
    connection.execute("DROP TABLE IF EXISTS temp.launches")
    connection.execute(
        "CREATE TEMP TABLE launches (process INTEGER, correlation INTEGER, thread INTEGER, start INTEGER, "
        "PRIMARY KEY (process, correlation)) WITHOUT ROWID"
    )
    if RUNTIME in present:
        connection.execute(
            f"INSERT OR IGNORE INTO temp.launches SELECT {_PROCESS}, correlationId, globalTid, start FROM {RUNTIME} "
            "WHERE correlationId IS NOT NULL ORDER BY start"
        )


def range_spans(connection: sqlite3.Connection) -> Iterator[RangeSpan]:
    """Push/pop ranges by thread, start and falling end; open ones as if they ended last.

    The numbers that torch adds to each call's name are left out, so that all calls of an operator are one range.
    """
    present = table_names(connection)
    if "NVTX_EVENTS" not in present:
        return
    domains = domain_names(connection)
    named = "coalesce(e.text, StringIds.value, '')" if "StringIds" in present else "coalesce(e.text, '')"
    join = "LEFT JOIN StringIds ON StringIds.id = e.textId" if "StringIds" in present else ""
    query = f"""
        SELECT e.globalTid, e.start, e.end, {named}, coalesce(e.domainId, 0) FROM NVTX_EVENTS e {join}
        WHERE e.eventType = {PUSH_POP} AND e.globalTid IS NOT NULL
        ORDER BY e.globalTid, e.start, e.end IS NOT NULL, e.end DESC
    """
    for thread, start, end, name, domain in connection.execute(query):
        yield RangeSpan(thread, start, end, _TORCH_NUMBERS.sub("", name), domains[domain] if domain else None)
