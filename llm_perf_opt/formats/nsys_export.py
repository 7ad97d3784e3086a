"""What an nsys SQLite export holds: enough to judge the capture, and the kernel summary.

Any table may be missing (nsys creates them lazily), there are no indexes, and the kernel table has 13 to 40 columns,
so only columns that every recorded version has are used. The file is opened read-only and as immutable: it may lie
on a read-only medium, and nothing (no journal, no -shm) appears beside it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from llm_perf_opt.errors import StageError
from llm_perf_opt.opening import open_database
from llm_perf_opt.records.tools import NvtxRange

KERNELS = "CUPTI_ACTIVITY_KIND_KERNEL"
GRAPHS = "CUPTI_ACTIVITY_KIND_GRAPH_TRACE"
COPIES = ("CUPTI_ACTIVITY_KIND_MEMCPY", "CUPTI_ACTIVITY_KIND_MEMSET")
RUNTIME = "CUPTI_ACTIVITY_KIND_RUNTIME"
# Values of ENUM_NSYS_EVENT_TYPE, the same in all recorded exports (2025.1 to 2026.2).
PUSH_POP, START_END, DOMAIN_CREATE = 59, 60, 75
WARNING = 2  # ENUM_DIAGNOSTIC_SEVERITY_LEVEL: 1 information, 2 warning, 3 error
MOST_RANGES = 200

SQLITE_MAGIC = b"SQLite format 3\0"
NSYS_MAGIC = b"NVIDIA Tegra Profiler Report"
"""How exports and reports begin."""


@contextlib.contextmanager
def open_export(path: Path) -> Iterator[sqlite3.Connection]:
    """Open an export for reading.

    Raises:
        StageError: it is not an SQLite file, or it is damaged; also when a query inside finds that out.
    """
    try:
        with contextlib.closing(open_database(path)) as connection:
            yield connection
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: sqlite3.Error | OSError | UnicodeDecodeError) -> StageError:
    return StageError(f"{path} is not a readable nsys export: {error}", "export the report again with nsys export")


def range_counts(*paths: Path) -> dict[str, int]:
    """Push/pop range of the default domain → how often, over all these exports.

    Raises:
        StageError: one cannot be read.
    """
    found: Counter[str] = Counter()
    for path in paths:
        with open_export(path) as connection:
            ranges, _ = _ranges(connection, table_names(connection))
        for item in ranges:
            if item.kind == "push_pop" and item.domain is None:
                found[item.name] += item.count
    return dict(found)


def is_export(path: Path) -> bool:
    """Whether an SQLite file has a table that every recorded nsys export has.

    Raises:
        StageError: the file cannot be read.
    """
    with open_export(path) as connection:
        return not table_names(connection).isdisjoint({"StringIds", "META_DATA_EXPORT", "EXPORT_META_DATA"})


def table_names(connection: sqlite3.Connection) -> frozenset[str]:
    return frozenset(name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'"))


def domain_names(connection: sqlite3.Connection) -> Mapping[int, str]:
    """NVTX domain id → its name, `domain N` where the export does not name it."""
    named = "StringIds.value" if "StringIds" in table_names(connection) else "NULL"
    join = "LEFT JOIN StringIds ON StringIds.id = e.textId" if named != "NULL" else ""
    rows = connection.execute(
        f"SELECT e.domainId, coalesce(e.text, {named}) FROM NVTX_EVENTS e {join} WHERE e.eventType = ?",
        (DOMAIN_CREATE,),
    )
    return _Domains({domain: name for domain, name in rows if name})


class _Domains(dict[int, str]):
    def __missing__(self, domain: int) -> str:
        return f"domain {domain}"


def _ranges(connection: sqlite3.Connection, tables: frozenset[str]) -> tuple[list[NvtxRange], int]:
    """All ranges by total time, and the number of their events."""
    if "NVTX_EVENTS" not in tables:
        return [], 0
    named = "StringIds.value" if "StringIds" in tables else "NULL"
    join = "LEFT JOIN StringIds ON StringIds.id = e.textId" if "StringIds" in tables else ""
    domains = domain_names(connection)
    query = f"""
        SELECT coalesce(e.text, {named}, ''), coalesce(e.domainId, 0), e.eventType, e.textId IS NOT NULL AS registered,
               count(*), sum(e.end IS NULL), coalesce(sum(e.end - e.start), 0) AS total
        FROM NVTX_EVENTS e {join}
        WHERE e.eventType IN ({PUSH_POP}, {START_END})
        GROUP BY 1, 2, 3, 4 ORDER BY total DESC, 1, 2, 3, 4
    """
    ranges = [
        NvtxRange(
            name=name,
            domain=domains[domain] if domain else None,
            kind="push_pop" if kind == PUSH_POP else "start_end",
            registered=bool(registered),
            count=count,
            unfinished=unfinished,
            total_ns=total,
        )
        for name, domain, kind, registered, count, unfinished, total in connection.execute(query)
    ]
    return ranges, sum(item.count for item in ranges)


def warnings(connection: sqlite3.Connection) -> tuple[str, ...]:
    """What nsys itself warned of while it collected."""
    tables = table_names(connection)
    if "DIAGNOSTIC_EVENT" not in tables:
        return ()
    rows = connection.execute(
        "SELECT DISTINCT text FROM DIAGNOSTIC_EVENT WHERE severity >= ? ORDER BY timestamp, text", (WARNING,)
    )
    return tuple(str(text) for (text,) in rows)
