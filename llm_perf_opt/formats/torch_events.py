"""The events of a trace that torch.profiler exported (Chrome's trace event format, plain or gzip).

Times are microseconds with fractions; rounded to nanoseconds they are what the profiler measured. Events of a device
do not say which process launched them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.formats.json_chunks import Pieces, Tell
from llm_perf_opt.formats.trace_json import NO_ARGUMENTS, NO_EVENT, TAKEN, TraceDecoder
from llm_perf_opt.records.columns import (
    ABSENT,
    ANNOTATION,
    COPY,
    KERNEL,
    MEMORY_KINDS,
    MEMORY_UNKNOWN,
    NONE,
    OPERATOR,
    PYTHON,
    SET,
    WAIT_CONTEXT,
    WAIT_EVENT,
    WAIT_STREAM,
    WAIT_STREAM_EVENT,
    WAIT_UNKNOWN,
    About,
    Calls,
    Collectives,
    Device,
    DeviceWork,
    Events,
    Note,
    Process,
    Ranges,
    Thread,
    Waits,
)

Int = NDArray[Any]

MOST_MICROSECONDS = 9_000_000_000_000_000
"""A time beyond this is none (and its nanoseconds do not fit into a column)."""

# Categories in lower case: torch before 1.13 wrote `Kernel`, `Memcpy`, `Operator`, `Runtime`.
HOST = {"cpu_op": OPERATOR, "operator": OPERATOR, "user_annotation": ANNOTATION, "python_function": PYTHON}
DEVICE = {"kernel": KERNEL, "gpu_memcpy": COPY, "memcpy": COPY, "gpu_memset": SET, "memset": SET}
WAIT = "cuda_sync"
RECORDING = "trace"
DISTRIBUTED = "distributedInfo"
"""What the trace says of its job, beside the events."""
WAITS = {
    "Event Sync": WAIT_EVENT,
    "Stream Wait Event": WAIT_STREAM_EVENT,
    "Stream Sync": WAIT_STREAM,
    "Context Sync": WAIT_CONTEXT,
}
_DIRECTIONS = {"HtoD": 1, "DtoH": 2, "DtoD": 8, "HtoH": 9, "PtoP": 10}
_DIRECTION = re.compile(r"\b([HDP]to[HDP])\b")
_MEMORY = re.compile(r"\((\w+) -> (\w+)\)")


def is_device_api(category: str) -> bool:
    """Whether events of this category are calls of the device's API: `cuda_runtime` (ROCm's too), `cuda_driver`, …"""
    return category == "runtime" or category.endswith(("_runtime", "_driver"))


def read_events(path: Path, tell: Tell | None = None) -> Events:
    """The events of one trace.

    Args:
        tell: is told how far it is.

    Raises:
        MissingError: the file is not there or cannot be opened.
        StageError: it is damaged, cut off or no trace.
    """
    decoder = TraceDecoder()
    columns = _Columns()
    pieces = Pieces(path, decoder.events, decoder.around, *(() if tell is None else (tell,)))
    for piece in pieces:
        columns.add(piece)
    events = columns.events(pieces.around)
    if pieces.byte_order_mark:
        events.notes.append(Note("a byte-order mark stands before the trace", 1))
    events.notes += [Note(f"{what}: read all the same", count) for what, count in sorted(decoder.odd.items())]
    return events


class _Columns:
    """Columns that grow piece by piece."""

    def __init__(self) -> None:
        self._categories: dict[str | None, tuple[str, int]] = {}
        self._names: dict[str, int] = {}
        self._threads: dict[tuple[Any, Any], int] = {}
        self._work: list[DeviceWork] = []
        self._calls: list[Calls] = []
        self._ranges: list[Ranges] = []
        self._waits: list[Waits] = []
        self._collectives: list[Collectives] = []
        self._works = 0
        self._malformed = 0
        self._recording: list[tuple[int, int]] = []

    def add(self, piece: Iterable[Any]) -> None:
        groups: dict[tuple[str, int], list[Any]] = {}
        for event in piece:
            if event.ph != "X":
                continue
            found = self._categories.get(event.cat)
            if found is None:
                found = self._categories[event.cat] = group_of(event.cat)
            if found[0]:
                groups.setdefault(found, []).append(event)
        for (group, kind), events in groups.items():
            if group == "host":
                self._add_ranges(events, kind)
            elif group == "call":
                self._add_calls(events)
            elif group == "device":
                self._add_work(events, kind)
            elif group == "wait":
                self._add_waits(events)
            else:
                self._recording += [
                    (start, end)
                    for start, end in zip(*(times.tolist() for times in _times(events)), strict=True)
                    if ABSENT not in (start, end)
                ]

    def _sound(self, events: list[Any]) -> tuple[list[Any], Int, Int]:
        """Host events with a name and times, and these times."""
        start, end = _times(events)
        bad = (start == ABSENT) | (end < start)
        if bad.any() or any(event.name is None for event in events):
            bad |= np.array([event.name is None for event in events])
            self._malformed += int(bad.sum())
            events = [event for event, left_out in zip(events, bad.tolist(), strict=True) if not left_out]
            start, end = start[~bad], end[~bad]
        return events, start, end

    def _add_ranges(self, events: list[Any], kind: int) -> None:
        events, start, end = self._sound(events)
        if not events:
            return
        none = np.full(len(events), NONE, np.int32)
        kinds = np.full(len(events), kind, np.int8)
        threads, names = self._thread_of(events), self._name_of(events)
        self._ranges.append(
            Ranges(start, end, kinds, threads, names, none, _external(events), none, none.astype(np.int8))
        )

    def _add_calls(self, events: list[Any]) -> None:
        events, start, end = self._sound(events)
        self._calls.append(
            Calls(
                start,
                end,
                self._thread_of(events),
                self._name_of(events),
                _argument(events, "correlation"),
                self._said(events, "kernel"),
                _handles([NONE if event.args is None else event.args.stream for event in events]),
            )
        )

    def _add_work(self, events: list[Any], kind: int) -> None:
        named = [event for event in events if event.name is not None]
        self._malformed += len(events) - len(named)
        start, end = _times(named)
        rows = len(named)
        copies = [copy_of(event.name) for event in named] if kind == COPY else []
        if kind == KERNEL:
            self._add_collectives(named)
        self._works += rows
        direction, source, target = (
            np.array(column, np.int8) for column in zip(*copies, strict=True)
        ) if copies else (np.full(rows, value, np.int8) for value in (0, MEMORY_UNKNOWN, MEMORY_UNKNOWN))  # fmt: skip
        self._work.append(
            DeviceWork(
                start_ns=start,
                end_ns=end,
                kind=np.full(rows, kind, np.int8),
                device=_device(named),
                stream=_stream(named),
                process=np.full(rows, NONE, np.int32),
                name=self._name_of(named),
                correlation=_argument(named, "correlation"),
                external=_external(named),
                graph=_argument(named, "graph"),
                node=_argument(named, "node"),
                annotation=self._annotation(named),
                bytes=_argument(named, "bytes"),
                copy_kind=direction,
                source=source,
                target=target,
            )
        )

    def _add_collectives(self, kernels: list[Any]) -> None:
        rows = [
            row
            for row, event in enumerate(kernels)
            if event.args is not None and (event.args.collective or event.args.group != "")
        ]
        found = [kernels[row].args for row in rows]
        if found:
            names, groups = [event.collective or None for event in found], [communicator_of(event) for event in found]
            self._collectives.append(
                Collectives(
                    np.array(rows, np.int64) + self._works,
                    self._names_or_none(names),
                    self._names_or_none(groups),
                    _argument([kernels[row] for row in rows], "sequence"),
                )
            )

    def _names_or_none(self, texts: Sequence[str | None]) -> NDArray[np.int32]:
        names = self._names
        return np.array([NONE if text is None else names.setdefault(text, len(names)) for text in texts], np.int32)

    def _add_waits(self, events: list[Any]) -> None:
        start, end = _times(events)
        kinds = [WAITS.get((event.args or NO_ARGUMENTS).sync or event.name or "", WAIT_UNKNOWN) for event in events]
        self._waits.append(
            Waits(
                start, end, np.array(kinds, np.int8), _device(events), _argument(events, "stream"),
                np.full(len(events), NONE, np.int32),
            )
        )  # fmt: skip

    def _name_of(self, events: Sequence[Any]) -> NDArray[np.int32]:
        names = self._names
        return np.array([names.setdefault(event.name, len(names)) for event in events], np.int32)

    def _said(self, events: Sequence[Any], argument: str) -> NDArray[np.int32]:
        """Texts that some events have as an argument, as names; -1 without one."""
        names = self._names
        found = ["" if event.args is None else getattr(event.args, argument) for event in events]
        if found.count("") == len(found):
            return np.full(len(found), NONE, np.int32)
        return np.array(
            [names.setdefault(text, len(names)) if isinstance(text, str) and text else NONE for text in found], np.int32
        )

    def _annotation(self, events: Sequence[Any]) -> NDArray[np.int32]:
        """What the nodes of graphs were annotated with; elsewhere such arguments mean something else."""
        nodes = [event if event.args is not None and event.args.node > 0 else NO_EVENT for event in events]
        if all(event is NO_EVENT for event in nodes):
            return np.full(len(events), NONE, np.int32)
        module = self._said(nodes, "module")
        return np.where(module == NONE, self._said(nodes, "annotation"), module)

    def _thread_of(self, events: Sequence[Any]) -> NDArray[np.int32]:
        threads = self._threads
        found = [threads.setdefault((event.pid, event.tid), len(threads)) for event in events]
        return np.array(found, np.int32)

    def events(self, around: Mapping[str, Any]) -> Events:
        threads, processes = self._owned_threads()
        work = DeviceWork.joined(self._work)
        if len(processes) == 1:
            work.process[:] = 0
        ordinals, positions = np.unique(work.device, return_inverse=True)
        work.device = positions.astype(np.int32)
        waits = Waits.joined(self._waits)
        known = {ordinal: number for number, ordinal in enumerate(ordinals.tolist())}
        waits.device = np.array([known.get(ordinal, NONE) for ordinal in waits.device.tolist()], np.int32)
        names = _gpu_names(around)
        owner = 0 if len(processes) == 1 else NONE
        return Events(
            work=work,
            calls=Calls.joined(self._calls),
            ranges=Ranges.joined(self._ranges),
            waits=waits,
            collectives=Collectives.joined(self._collectives),
            names=list(self._names),
            processes=[Process(pid) for pid in processes],
            threads=threads,
            devices=[Device(ordinal, owner, None, names.get(ordinal)) for ordinal in ordinals.tolist()],
            about=_about(around),
            recording_ns=(min(start for start, _ in self._recording), max(end for _, end in self._recording))
            if self._recording
            else None,
            notes=[Note("events without a name or times: left out", self._malformed)] if self._malformed else [],
        )

    def _owned_threads(self) -> tuple[list[Thread], list[Any]]:
        """The threads and the processes. Frames of Python may name another process than all else of their thread's."""
        keys = list(self._threads)
        used = np.unique(
            np.concatenate(
                [np.empty(0, np.int32), *(part.thread for part in self._calls)]
                + [part.thread for part in self._ranges if part.kind[0] != PYTHON]
            )
        )
        found = dict.fromkeys(keys[thread][0] for thread in used.tolist())
        owners = {pid: number for number, pid in enumerate(found)}
        if len(owners) != 1:
            owners = {pid: number for number, pid in enumerate(dict.fromkeys(pid for pid, _ in keys))}
        return [Thread(owners.get(pid, 0), tid) for pid, tid in keys], list(owners)


def group_of(category: str | None) -> tuple[str, int]:
    """What events of a category are (host, call, device, wait, recording, or nothing of use), and of which kind."""
    lower = (category or "").lower()
    if lower in HOST:
        return "host", HOST[lower]
    if lower in DEVICE:
        return "device", DEVICE[lower]
    if is_device_api(lower):
        return "call", 0
    return {WAIT: ("wait", 0), RECORDING: ("recording", 0)}.get(lower, ("", 0))


def _times(events: Sequence[Any]) -> tuple[Int, Int]:
    """Starts and ends in nanoseconds; ABSENT where the file holds none."""
    start, duration = _ns([event.ts for event in events]), _ns([event.dur for event in events])
    absent = (start == ABSENT) | (duration == ABSENT)
    return start, np.where(absent, ABSENT, np.where(absent, 0, start) + np.where(absent, 0, duration))


def _ns(values: list[Any]) -> Int:
    """Nanoseconds of times in microseconds, rounded to the nearest one."""
    try:
        found = np.array(values)
    except OverflowError:
        found = np.empty(0, object)
    if found.dtype == np.int64:
        whole, fraction = found, np.zeros(len(found))
    elif found.dtype == np.float64:
        if not np.isfinite(found).all() or (np.abs(found) >= MOST_MICROSECONDS).any():
            return np.array([_one_ns(value) for value in values], np.int64)
        floor = np.floor(found)
        whole, fraction = floor.astype(np.int64), found - floor
    else:
        return np.array([_one_ns(value) for value in values], np.int64)
    bad = np.abs(whole) >= MOST_MICROSECONDS
    return np.where(bad, ABSENT, np.where(bad, 0, whole) * 1000 + np.rint(fraction * 1000).astype(np.int64))


def _one_ns(value: Any) -> int:
    if value is None or not -MOST_MICROSECONDS < value < MOST_MICROSECONDS:
        return ABSENT
    return round(Decimal(value) * 1000)


def _handles(streams: list[int | str]) -> Int:
    """The streams that calls name."""
    if set(streams) <= {NONE}:
        return np.full(len(streams), NONE, np.int64)
    return np.array([_handle(stream) for stream in streams], np.int64)


def _handle(stream: int | str) -> int:
    """A stream as a call names it: a number, or a handle such as `0x55d2c8`."""
    if isinstance(stream, str):
        try:
            stream = int(stream, 0)
        except ValueError:
            return NONE
    return stream if 0 <= stream < 1 << 63 else NONE


def _argument(events: Sequence[Any], name: str) -> Int:
    """This argument of every event; -1 without one. A negative or huge one is none."""
    none = getattr(NO_ARGUMENTS, name)
    found = [none if event.args is None else getattr(event.args, name) for event in events]
    if name in TAKEN:
        found = [value if isinstance(value, int) else none for value in found]
    try:
        return np.array(found, np.int64)
    except OverflowError:
        return np.array([value if -1 <= value < 1 << 63 else -1 for value in found], np.int64)


def _external(events: Sequence[Any]) -> Int:
    found = _argument(events, "external")
    return np.where(found < 0, _argument(events, "old_external"), found) if (found < 0).any() else found


def _device(events: Sequence[Any]) -> NDArray[np.int32]:
    found = _argument(events, "device")
    if (found < 0).any():
        numbers = [event.pid if isinstance(event.pid, int) and 0 <= event.pid < 1 << 31 else -1 for event in events]
        found = np.where(found < 0, np.array(numbers, np.int64), found)
    return np.clip(found, -1, (1 << 31) - 1).astype(np.int32)


def _stream(events: Sequence[Any]) -> Int:
    found = _argument(events, "stream")
    if (found < 0).any():
        numbers = [event.tid if isinstance(event.tid, int) and abs(event.tid) < 1 << 62 else -1 for event in events]
        found = np.where(found < 0, np.array(numbers, np.int64), found)
    return found


def copy_of(name: str) -> tuple[int, int, int]:
    """Direction and kinds of memory, from `Memcpy HtoD (Pinned -> Device)`."""
    direction, memory = _DIRECTION.search(name), _MEMORY.search(name)
    kinds = [word.lower() for word in memory.groups()] if memory else ["", ""]
    numbers = [MEMORY_KINDS.index(kind) if kind in MEMORY_KINDS else MEMORY_UNKNOWN for kind in kinds]
    return _DIRECTIONS.get(direction[1], 0) if direction else 0, numbers[0], numbers[1]


def communicator_of(arguments: Any) -> str | None:
    """One name for a communicator in the traces of all its ranks; None where the trace does not say.

    Names of groups count within a job, so the ranks in it tell apart groups that ranks made each for themselves.
    """
    if arguments.communicator != "":
        return f"communicator {arguments.communicator}"
    if arguments.group == "":
        return None
    return f"group {arguments.group}" + (f" of ranks {arguments.members}" if arguments.members != "" else "")


def _gpu_names(around: Mapping[str, Any]) -> dict[Any, str]:
    found = around.get("deviceProperties")
    rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    return {row["id"]: row["name"] for row in rows if isinstance(row.get("name"), str) and row["name"] and "id" in row}


def _about(around: Mapping[str, Any]) -> About:
    spread = around.get(DISTRIBUTED)
    spread = spread if isinstance(spread, dict) else {}
    return About(
        tool="torch.profiler",
        tool_version=None,
        driver=None,
        cuda=_version(around.get("cuda_runtime_version")),
        rank=_whole(spread.get("rank")),
        world_size=_whole(spread.get("world_size")),
    )


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _version(number: Any) -> str | None:
    return f"{number // 1000}.{number % 1000 // 10}" if isinstance(number, int) and number > 1000 else None
