"""The events of an nsys SQLite export (any release from 2022 on).

Tables appear lazily, columns come and go, rows stand in any order and nothing is indexed. What is missing is said in
a note. Two processes use the same correlation and domain ids and the same device numbers, so each is looked up
together with its process.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from llm_perf_opt.errors import StageError
from llm_perf_opt.formats.nsys_about import about_export, devices_of, duration_ns, recording_ns
from llm_perf_opt.formats.nsys_counters import counters_of
from llm_perf_opt.formats.nsys_graphs import read_nodes
from llm_perf_opt.formats.sqlite_columns import Column, Int, TableReader
from llm_perf_opt.opening import open_database
from llm_perf_opt.records.columns import (
    ABSENT,
    COPY,
    COPY_KINDS,
    GRAPH,
    KERNEL,
    MEMORY_KINDS,
    MEMORY_UNKNOWN,
    NONE,
    PUSH_POP,
    SET,
    START_END,
    Calls,
    Device,
    DeviceWork,
    Events,
    GraphNodes,
    Note,
    Process,
    Ranges,
    Thread,
    Waits,
    constant,
)
from llm_perf_opt.records.factor import distinct, factorized, looked_up

KERNELS = "CUPTI_ACTIVITY_KIND_KERNEL"
GRAPHS = "CUPTI_ACTIVITY_KIND_GRAPH_TRACE"
COPIES = "CUPTI_ACTIVITY_KIND_MEMCPY"
SETS = "CUPTI_ACTIVITY_KIND_MEMSET"
RUNTIME = "CUPTI_ACTIVITY_KIND_RUNTIME"
SYNCHRONIZATION = "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION"
RANGES = "NVTX_EVENTS"
# ENUM_NSYS_EVENT_TYPE, the same in all recorded exports (2025.1 to 2026.2).
PUSH_POP_TYPES, START_END_TYPES, DOMAIN_CREATE = (59, 70), (60, 71), 75
UNPAIRED_TYPES = (35, 36, 37, 38)
PROCESS_BITS = 24
"""A serialized GlobalId: the thread in the low bits, the process above it."""
INLINE = -2
"""In place of the StringId of a range whose text stands in its row."""
GRAPH_NAME = "[CUDA graph]"
UNNAMED_KERNEL = "[unnamed kernel]"
NODE_TRACING = "--cuda-graph-trace=node"
# torch.autograd.profiler.emit_nvtx numbers every call: `aten::mm, seq = 3, op_id = 999173`
# (https://github.com/pytorch/pytorch/blob/main/torch/csrc/profiler/util.cpp, getNvtxStr).
_TORCH_NUMBERS = re.compile(r", (?:seq|op_id) = \d+")
_API_VERSION = re.compile(r"(?:_v\d+)?(?:_ptds|_ptsz)?$")

_START, _END = Column("start", ABSENT, needed=True), Column("end", ABSENT, needed=True)
_WHERE = (_START, _END, Column("deviceId", small=True), Column("streamId", small=True), Column("globalPid"))
_CORRELATION = Column("correlationId", small=True)


def read_events(path: Path) -> Events:
    """The events of one export.

    Raises:
        StageError: it is no SQLite file, it is damaged, or it is no export of nsys.
    """
    return _read(path, lambda export: export.events())


def read_kernels(path: Path) -> Events:
    """The kernels and whole graphs of one export, without what launched them.

    Raises:
        StageError: it is no SQLite file, it is damaged, or it is no export of nsys.
    """
    return _read(path, lambda export: export.kernels_alone())


def _read(path: Path, read: Callable[[_Export], Events]) -> Events:
    try:
        with contextlib.closing(open_database(path)) as connection:
            reader = TableReader(path, connection)
            if reader.tables.isdisjoint({"StringIds", "META_DATA_EXPORT", "EXPORT_META_DATA"}):
                raise StageError(f"{path} is an SQLite file, but no export of nsys", "name an export of nsys")
            return read(_Export(reader))
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        raise StageError(
            f"{path} is not a readable nsys export: {error}", "export the report again with nsys export"
        ) from error


@dataclass
class _Names:
    """Names as they are met: the positions of texts, and which StringIds stand for which."""

    texts: dict[str, int] = field(default_factory=dict)

    def of(self, text: str) -> int:
        return self.texts.setdefault(text, len(self.texts))

    def of_ids(self, ids: Int, known: dict[int, str], unnamed: str) -> Int:
        """The name of each StringId; `unnamed` where the export has none."""
        unique, inverse = factorized(ids)
        positions = [self.of(known.get(value, unnamed)) for value in unique.tolist()]
        return np.array(positions, np.int64)[inverse] if positions else np.empty(0, np.int64)


@dataclass
class _Export:
    reader: TableReader
    names: _Names = field(default_factory=_Names)
    notes: list[Note] = field(default_factory=list)

    def events(self) -> Events:
        work = [part for part in (self._kernels(), self._graphs(), self._copies(), self._sets()) if part is not None]
        calls = self._calls()
        ranges = self._ranges()
        waits = self._waits()
        nodes = read_nodes(self.reader)
        strings = self._strings(
            [part.name for part in work if part.table in (KERNELS,)],
            [calls[4]],
            *([found.text_ids] for found in ranges),
        )
        threads = _distinct_in([calls[2], *(found.thread for found in ranges), nodes[3]])
        processes = _distinct_in([_process_of(threads), *(_process_of(distinct(part.process)) for part in work)])
        devices, numbers = self._devices(work, processes)
        about = about_export(self.reader)
        counters, counter_notes = counters_of(self.reader, devices)
        events = Events(
            work=DeviceWork.joined([self._work(part, strings, processes, numbers) for part in work]),
            calls=self._call_columns(calls, strings, threads),
            ranges=Ranges.joined([self._range_columns(found, strings, threads) for found in ranges]),
            waits=_wait_columns(waits, processes, numbers),
            counters=counters,
            nodes=GraphNodes(nodes[0], nodes[1], nodes[2], looked_up(nodes[3], threads).astype(np.int32)),
            processes=self._processes(processes),
            threads=self._threads(threads, processes),
            devices=devices,
            about=about,
            recording_ns=recording_ns(self.reader),
            duration_ns=duration_ns(self.reader),
        )
        events.names = list(self.names.texts)
        events.notes = [*self.notes, *self._malformed_notes(), *_graph_notes(events), *counter_notes]
        return events

    def kernels_alone(self) -> Events:
        work = [part for part in (self._kernels(alone=True), self._graphs(alone=True)) if part is not None]
        processes = _distinct_in([_process_of(distinct(found.process)) for found in work])
        strings = self._strings([found.name for found in work if found.table == KERNELS])
        devices, numbers = self._devices(work, processes)
        events = Events(
            work=DeviceWork.joined([self._work(found, strings, processes, numbers) for found in work]),
            processes=self._processes(processes),
            devices=devices,
            recording_ns=recording_ns(self.reader),
        )
        events.names = list(self.names.texts)
        return events

    def _kernels(self, *, alone: bool = False) -> _Part | None:
        name = "demangledName" if "demangledName" in self.reader.columns_of(KERNELS) else "shortName"
        return self._part(KERNELS, KERNEL, [Column(name, small=True)], alone=alone)

    def _graphs(self, *, alone: bool = False) -> _Part | None:
        return self._part(GRAPHS, GRAPH, [], graph="graphId", alone=alone)

    def _copies(self) -> _Part | None:
        extra = [Column("bytes"), Column("copyKind", 0), Column("srcKind", MEMORY_UNKNOWN)]
        return self._part(COPIES, COPY, [*extra, Column("dstKind", MEMORY_UNKNOWN)])

    def _sets(self) -> _Part | None:
        return self._part(SETS, SET, [Column("bytes"), Column("memKind", MEMORY_UNKNOWN)])

    def _part(
        self, table: str, kind: int, extra: Sequence[Column], *, graph: str | None = None, alone: bool = False
    ) -> _Part | None:
        """One table of device work; `alone`: without what launched it."""
        if table not in self.reader.tables:
            return None
        gaps = sorted({"start", "end"} - self.reader.columns_of(table))
        if gaps:
            self._gap(table, gaps)
            return None
        # What has a node is in a graph: then nobody asks for the graph itself.
        names = ("graphNodeId", "graphId") if graph is None else (graph,)
        nodes = [Column(name, small=True) for name in names if name in self.reader.columns_of(table)][:1]
        columns = [*_WHERE, *([] if alone else [_CORRELATION, *nodes]), *extra]
        found = dict(zip([column.name for column in columns], self.reader.read(table, columns), strict=True))
        rows = len(found["start"])
        correlation = found.get(_CORRELATION.name, constant(NONE, rows, np.int64))
        where = (found["start"], found["end"], found["deviceId"], found["streamId"])
        return _Part(table, kind, *where, correlation, found["globalPid"], found)

    def _calls(self) -> list[Int]:
        columns = [_START, _END, Column("globalTid"), _CORRELATION, Column("nameId", small=True)]
        gaps = self.reader.missing(RUNTIME, columns)
        if RUNTIME in self.reader.tables and gaps:
            self._gap(RUNTIME, gaps)
            return [np.empty(0, np.int64) for _ in columns]
        return self._sound(RUNTIME, self.reader.read(RUNTIME, columns))

    def _sound(self, table: str, rows: list[Int], *, may_be_open: bool = False) -> list[Int]:
        """Without the rows of the host that have no start, or end before it."""
        start, end = rows[0], rows[1]
        bad = (start == ABSENT) | (end < start)
        if may_be_open:
            bad &= (end != ABSENT) | (start == ABSENT)
        count = int(bad.sum())
        if not count:
            return rows
        self.notes.append(Note(f"rows of {table} that have no start, or end before it: left out", count))
        return [column[~bad] for column in rows]

    def _waits(self) -> list[Int]:
        columns = [_START, _END, Column("deviceId"), Column("streamId"), Column("syncType", 0)]
        if self.reader.missing(SYNCHRONIZATION, columns):
            return [np.empty(0, np.int64) for _ in range(6)]
        return self.reader.read(SYNCHRONIZATION, [*columns, Column("globalPid")])

    def _ranges(self) -> list[_RangePart]:
        if RANGES not in self.reader.tables:
            return []
        gaps = sorted({"start", "end", "eventType", "globalTid"} - self.reader.columns_of(RANGES))
        if gaps:
            self._gap(RANGES, gaps)
            return []
        columns = [
            _START,
            _END,
            Column("globalTid"),
            Column("textId", NONE, small=True),
            Column("eventType", needed=True, small=True),
            Column("domainId", 0, needed=True, small=True),
            Column("text", 0, presence=True),
        ]
        start, end, thread, name, kind, domain, has_text = self.reader.read(RANGES, columns)
        name[has_text != 0] = INLINE
        rows = [start, end, thread, domain, name, kind]
        del has_text
        unpaired = int(np.isin(kind, UNPAIRED_TYPES).sum())
        if unpaired:
            self.notes.append(Note("NVTX events that are stored as single pushes and pops are not read", unpaired))
        wanted = np.isin(kind, (*PUSH_POP_TYPES, *START_END_TYPES))
        if not wanted.all():
            rows = [column[wanted] for column in rows]
        in_rows = rows[4] == INLINE
        # Columns of one length: what is left out of one is left out of all.
        names = np.full(len(in_rows), NONE, np.int64)
        if in_rows.any():
            names[in_rows] = self._inline_names()
        rows = self._sound(RANGES, [*rows, names], may_be_open=True)
        in_rows = rows[4] == INLINE
        if not in_rows.any():
            return [_RangePart(*rows[:6])] if len(rows[0]) else []
        plain = _RangePart(*(column[~in_rows] for column in rows[:6]))
        inlined = _RangePart(*(column[in_rows] for column in rows))
        return [part for part in (plain, inlined) if len(part.start)]

    def _inline_names(self) -> Int:
        """The names of the ranges whose texts stand in the rows, in their order."""
        # Rows whose times are no whole numbers are left out of the columns, and so they are here.
        where = f"eventType IN {(*PUSH_POP_TYPES, *START_END_TYPES)} AND text IS NOT NULL"
        where += "".join(f" AND typeof(ifnull({name}, 0)) = 'integer'" for name in ("start", "end"))
        if "domainId" in self.reader.columns_of(RANGES):
            where += " AND typeof(domainId) IN ('integer', 'null')"
        names = _Positions(self.names)
        cursor = self.reader.connection.execute(f"SELECT text FROM {RANGES} WHERE {where}")
        return np.array([names[_text(text)] for (text,) in cursor], np.int64)

    def _gap(self, table: str, columns: Sequence[str]) -> None:
        words = f"{table} has no column {', '.join(columns)}: it is not read."
        self.notes.append(Note(words))

    def _strings(self, *groups: Iterable[Int]) -> dict[int, str]:
        """The texts of these StringIds."""
        if not {"id", "value"} <= self.reader.columns_of("StringIds"):
            return {}
        wanted = {value for group in groups for ids in group for value in distinct(ids).tolist()}
        rows = self.reader.connection.execute("SELECT id, value FROM StringIds")
        return {key: _text(value) for key, value in rows if key in wanted}

    def _processes(self, processes: Int) -> list[Process]:
        names: dict[int, str] = {}
        if {"globalPid", "name"} <= self.reader.columns_of("PROCESSES"):
            names = dict(self.reader.connection.execute("SELECT globalPid, name FROM PROCESSES").fetchall())
        return [Process(pid_of(process), names.get(process)) for process in processes.tolist()]

    def _threads(self, threads: Int, processes: Int) -> list[Thread]:
        owners = looked_up(_process_of(threads), processes).tolist()
        low = (threads & ((1 << PROCESS_BITS) - 1)).tolist()
        return [Thread(owner, tid) for owner, tid in zip(owners, low, strict=True)]

    def _devices(self, work: Sequence[_Part], processes: Int) -> tuple[list[Device], _Numbers]:
        ordinals = _distinct_in([part.device for part in work], none=True)
        keys = [looked_up(_process_of(part.process), processes) * len(ordinals) for part in work]
        keys = [key + looked_up(part.device, ordinals) for key, part in zip(keys, work, strict=True)]
        unique = _distinct_in(keys, none=True)
        pairs = [(key // len(ordinals), int(ordinals[key % len(ordinals)])) for key in unique.tolist()]
        devices, positions = devices_of(self.reader, pairs, [pid_of(process) for process in processes.tolist()])
        return devices, _Numbers(ordinals, unique, np.array(positions, np.int64))

    def _work(self, part: _Part, strings: dict[int, str], processes: Int, numbers: _Numbers) -> DeviceWork:
        rows = len(part.start)
        process = looked_up(_process_of(part.process), processes)
        none = constant(NONE, rows, np.int64)
        if part.kind == KERNEL:
            name = self.names.of_ids(part.name, strings, UNNAMED_KERNEL)
        elif part.kind == GRAPH:
            name = constant(self.names.of(GRAPH_NAME), rows, np.int32)
        elif part.kind == COPY:
            kinds = np.clip(part.rest["copyKind"], 0, len(COPY_KINDS) - 1)
            name = np.array([self.names.of(f"copy, {kind}") for kind in COPY_KINDS])[kinds]
        else:
            name = constant(self.names.of("set"), rows, np.int32)
        memory = constant(MEMORY_UNKNOWN, rows, np.int8)
        return DeviceWork(
            start_ns=part.start,
            end_ns=part.end,
            kind=constant(part.kind, rows, np.int8),
            device=numbers.of(process, part.device).astype(np.int32),
            stream=part.stream,
            process=process.astype(np.int32),
            name=name.astype(np.int32),
            correlation=part.correlation,
            external=none,
            graph=part.rest.get("graphId", none),
            node=part.rest.get("graphNodeId", none),
            annotation=constant(NONE, rows, np.int32),
            bytes=part.rest.get("bytes", none),
            copy_kind=_enumerated(part.rest.get("copyKind", none), len(COPY_KINDS), 0),
            source=_enumerated(part.rest.get("srcKind", memory), len(MEMORY_KINDS), MEMORY_UNKNOWN),
            target=_enumerated(
                part.rest.get("dstKind", part.rest.get("memKind", memory)), len(MEMORY_KINDS), MEMORY_UNKNOWN
            ),
        )

    def _call_columns(self, calls: list[Int], strings: dict[int, str], threads: Int) -> Calls:
        start, end, thread, correlation, name = calls
        plain = {key: _API_VERSION.sub("", text) for key, text in strings.items()}
        names = self.names.of_ids(name, plain, "[unnamed call]")
        found = looked_up(thread, threads).astype(np.int32), names.astype(np.int32)
        unsaid = constant(NONE, len(start), np.int32), constant(NONE, len(start), np.int64)
        return Calls(start, end, *found, correlation, *unsaid)

    def _range_columns(self, found: _RangePart, strings: dict[int, str], threads: Int) -> Ranges:
        if found.names is None:
            plain = {key: _TORCH_NUMBERS.sub("", text) for key, text in strings.items()}
            names = self.names.of_ids(found.text_ids, plain, "")
        else:
            names = found.names
        kind = np.where((found.kind == START_END_TYPES[0]) | (found.kind == START_END_TYPES[1]), START_END, PUSH_POP)
        thread = looked_up(found.thread, threads)
        return Ranges(
            start_ns=found.start,
            end_ns=found.end,
            kind=kind.astype(np.int8),
            thread=thread.astype(np.int32),
            name=names.astype(np.int32),
            domain=self._domains(found, thread, threads),
            external=constant(NONE, len(found.start), np.int64),
            shapes=constant(NONE, len(found.start), np.int32),
            registered=constant(int(found.names is None), len(found.start), np.int8),
        )

    def _domains(self, found: _RangePart, thread: Int, owners: Int) -> Int:
        """The name of each range's domain: domains are numbered by each process for itself."""
        domains, number = factorized(found.domain)
        if not domains.any():
            return constant(NONE, len(found.start), np.int32)
        named = self._domain_names()
        keys, inverse = factorized(thread * len(domains) + number)
        positions = []
        for key in keys.tolist():
            owner, domain = int(owners[key // len(domains)]), int(domains[key % len(domains)])
            name = named.get((owner >> PROCESS_BITS, domain)) or named.get((None, domain), f"domain {domain}")
            positions.append(self.names.of(name) if domain else NONE)
        return np.array(positions, np.int32)[inverse]

    def _domain_names(self) -> dict[tuple[int | None, int], str]:
        if not hasattr(self, "_named_domains"):
            columns = self.reader.columns_of(RANGES)
            text = "e.text" if "text" in columns else "NULL"
            join = "textId" in columns and "StringIds" in self.reader.tables
            value = f"coalesce({text}, s.value)" if join else text
            query = f"SELECT e.globalTid >> {PROCESS_BITS}, e.domainId, {value} FROM {RANGES} e "
            query += "LEFT JOIN StringIds s ON s.id = e.textId " if join else ""
            rows = self.reader.connection.execute(query + f"WHERE e.eventType = {DOMAIN_CREATE}").fetchall()
            self._named_domains = {(owner, domain): _text(name) for owner, domain, name in rows if name}
        return self._named_domains

    def _malformed_notes(self) -> list[Note]:
        return [
            Note(
                f"values of {table}.{column} that are no such number: left out",
                count,
            )
            for (table, column), count in sorted(self.reader.malformed.items())
        ]


@dataclass
class _Part:
    """One table of device work."""

    table: str
    kind: int
    start: Int
    end: Int
    device: Int
    stream: Int
    correlation: Int
    process: Int
    rest: dict[str, Int]

    @property
    def name(self) -> Int:
        return self.rest["demangledName"] if "demangledName" in self.rest else self.rest["shortName"]


@dataclass
class _RangePart:
    start: Int
    end: Int
    thread: Int
    domain: Int
    text_ids: Int
    kind: Int
    names: Int | None = None
    """Positions of their names, where those are not in StringIds."""


@dataclass
class _Numbers:
    """(process, ordinal) → device."""

    ordinals: Int
    keys: Int
    positions: Int

    def of(self, process: Int, ordinal: Int) -> Int:
        number = looked_up(ordinal, self.ordinals)
        found = looked_up(process * len(self.ordinals) + number, self.keys)
        return np.where((found >= 0) & (number >= 0), np.append(self.positions, NONE)[found], NONE)


class _Positions(dict[str, int]):
    """Text → position of its name, found once for each text."""

    def __init__(self, names: _Names) -> None:
        super().__init__()
        self._names = names

    def __missing__(self, text: str) -> int:
        self[text] = position = self._names.of(_TORCH_NUMBERS.sub("", text))
        return position


def pid_of(global_id: int) -> int:
    """The process id in a serialized GlobalId."""
    return (global_id >> PROCESS_BITS) & 0xFFFFFF


def _text(value: object) -> str:
    return (
        value
        if isinstance(value, str)
        else value.decode("utf-8", "replace")
        if isinstance(value, bytes)
        else str(value)
    )


def _process_of(global_ids: Int) -> Int:
    """Of serialized GlobalIds the part above the thread; -1 stays."""
    return np.where(global_ids < 0, NONE, global_ids >> PROCESS_BITS << PROCESS_BITS)


def _distinct_in(parts: Sequence[Int], *, none: bool = False) -> Int:
    """The distinct values of all parts, sorted; with `none` those that stand for nothing too."""
    found = np.unique(np.concatenate([np.empty(0, np.int64), *map(distinct, parts)]))
    return found if none else found[found != NONE]


def _enumerated(values: Int, length: int, otherwise: int) -> np.ndarray[tuple[int], np.dtype[np.int8]]:
    if len(values) and not values.strides[0]:  # a column of one value stays one
        return constant(int(values[0]) if 0 <= values[0] < length else otherwise, len(values), np.int8)
    return np.where((values >= 0) & (values < length), values, otherwise).astype(np.int8)


def _wait_columns(waits: list[Int], processes: Int, numbers: _Numbers) -> Waits:
    start, end, device, stream, kind, process = waits
    owner = looked_up(_process_of(process), processes)
    return Waits(
        start,
        end,
        np.clip(kind, 0, 127).astype(np.int8),
        numbers.of(owner, device).astype(np.int32),
        stream,
        owner.astype(np.int32),
    )


def _graph_notes(events: Events) -> list[Note]:
    graphs = int((events.work.kind == GRAPH).sum())
    if not graphs:
        return []
    return [
        Note(
            "CUDA graphs were traced whole: the kernels in them are unknown. "
            f"nsys profile {NODE_TRACING} records them, "
            "at a cost for every launch.",
            graphs,
        )
    ]
