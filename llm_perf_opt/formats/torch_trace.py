"""Reads the traces that torch.profiler exports (Chrome's trace event format, plain or gzip) as a stream.

A trace can have gigabytes, so events are turned into columns one at a time. Times are microseconds with fractions;
rounded to nanoseconds they are what the profiler measured.
"""

from __future__ import annotations

import contextlib
import gzip
import zlib
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from llm_perf_opt.errors import MissingError, StageError
from llm_perf_opt.opening import open_file
from llm_perf_opt.records.events import DeviceEvents, HostEvents, is_device_api

GZIP_MAGIC = b"\x1f\x8b"
# Recorded traces shrink 10 to 20 times; a file that unfolds far more was made to fill memory or disks.
MOST_TIMES_LARGER = 200
ALWAYS_ALLOWED_BYTES = 256 << 20
# Nor is there ever so much text without an event in it: one endless string would be collected in memory.
MOST_BETWEEN_EVENTS_BYTES = 64 << 20
READ_AT_ONCE_BYTES = 1 << 20
MOST_MICROSECONDS = 9_000_000_000_000_000
"""A time beyond this is none (and its nanoseconds do not fit into a column)."""

HOST = frozenset({"cpu_op", "operator", "user_annotation"})
DEVICE = frozenset({"kernel", "gpu_memcpy", "gpu_memset", "memcpy", "memset"})
"""Categories, in lower case: torch before 1.13 wrote `Kernel`, `Memcpy`, `Operator`, `Runtime`."""


@dataclass(frozen=True)
class Trace:
    """The events of one trace."""

    host: HostEvents
    device: DeviceEvents
    malformed: int
    """Events left out, since their name or times are not what the format says."""
    ambiguous: int
    """Host events whose ids another process of the trace uses too, so that no kernel can be linked to them."""


def looks_like_trace(start: bytes) -> bool:
    """Whether a file that begins with these bytes (unpacked) is a trace."""
    return start.lstrip()[:1] in (b"{", b"[") and (b'"traceEvents"' in start or b'"ph"' in start)


def unpacked_start(path: Path, length: int) -> bytes:
    """The first bytes of a file, unpacked where it is gzip.

    Raises:
        OSError: it cannot be read.
    """
    with open_file(path) as file:
        start = file.read(length)
    if not start.startswith(GZIP_MAGIC):
        return start
    with contextlib.suppress(zlib.error):
        return zlib.decompressobj(wbits=31).decompress(start, length)
    return start


def read_trace(path: Path) -> Trace:
    """The host and device events of a trace.

    Raises:
        MissingError: the file is not there or cannot be opened.
        StageError: it is damaged, cut off or no trace.
    """
    import ijson

    remedy = "export the trace again: torch.profiler.profile.export_chrome_trace"
    try:
        with open_file(path) as file:
            stream = _Unpacked(file, path.stat().st_size)
            columns = _Columns()
            prefix = "item" if stream.peek_first() == b"[" else "traceEvents.item"
            for event in ijson.items(stream, prefix, buf_size=READ_AT_ONCE_BYTES):
                stream.since_event_bytes = 0
                columns.add(event)
    except (ijson.JSONError, gzip.BadGzipFile, EOFError, zlib.error, _TooLarge) as error:
        words = " ".join(str(error).split())[:200]
        raise StageError(f"{path} cannot be read as a trace of torch.profiler: {words}", remedy) from error
    except OSError as error:
        raise MissingError(f"{path} cannot be read: {error.strerror}", "name a file that can be read") from error
    return columns.trace()


class _TooLarge(Exception):
    """It holds more than a trace does."""


class _Unpacked:
    """The text of a file, unpacked where it is gzip, up to a bound."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
        file.seek(0)
        self._stream: IO[bytes] | gzip.GzipFile = gzip.GzipFile(fileobj=file) if packed else file
        self._left = max(ALWAYS_ALLOWED_BYTES, MOST_TIMES_LARGER * size) if packed else None
        self._start = b""
        self.since_event_bytes = 0
        """Text read since this was last set to 0."""

    def peek_first(self) -> bytes:
        """The first byte that is no white space; it is read again later."""
        self._start = self.read(1 << 16)
        return self._start.lstrip()[:1]

    def read(self, size: int) -> bytes:
        if not size:  # ijson asks so whether it gets bytes or text
            return b""
        if self._start:
            data, self._start = self._start, b""
            return data
        data = self._stream.read(size)
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                raise _TooLarge(f"it unfolds to more than {MOST_TIMES_LARGER} times its size, which no trace does")
        self.since_event_bytes += len(data)
        if self.since_event_bytes > MOST_BETWEEN_EVENTS_BYTES:
            raise _TooLarge(f"{MOST_BETWEEN_EVENTS_BYTES >> 20} MiB of it hold no event")
        return data


class _Columns:
    """Events as they come, as columns."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._threads: dict[tuple[Any, Any], int] = {}
        self._processes: list[Any] = []
        """Of each thread."""
        self._host_names: list[str] = []
        self._host_threads, self._starts, self._host_durations = array("q"), array("q"), array("q")
        self._operator_ids, self._launch_ids = array("q"), array("q")
        self._device_names: list[str] = []
        self._device_durations, self._device_operators, self._device_launches = array("q"), array("q"), array("q")
        self._malformed = 0

    def add(self, event: Any) -> None:
        if not isinstance(event, dict) or event.get("ph") != "X":
            return
        category = str(event.get("cat", "")).lower()
        is_call = is_device_api(category)
        if not is_call and category not in HOST and category not in DEVICE:
            return
        name, start, duration = event.get("name"), _ns(event.get("ts")), _ns(event.get("dur"))
        if not isinstance(name, str) or start is None or duration is None or duration < 0:
            self._malformed += 1
            return
        name = self._names.setdefault(name, name)
        args = event.get("args")
        operator_id = _id(args, "External id", "external id")
        launch_id = _id(args, "correlation")
        if category in DEVICE:
            self._device_names.append(name)
            self._device_durations.append(duration)
            self._device_operators.append(operator_id)
            self._device_launches.append(launch_id)
            return
        self._host_names.append(name)
        self._host_threads.append(self._thread(event))
        self._starts.append(start)
        self._host_durations.append(duration)
        # A call names the operator around it; only the operator itself is looked up by that id.
        self._operator_ids.append(0 if is_call else operator_id)
        self._launch_ids.append(launch_id if is_call else 0)

    def _thread(self, event: Mapping[str, Any]) -> int:
        process = str(event.get("pid"))
        thread = self._threads.setdefault((process, str(event.get("tid"))), len(self._threads))
        if thread == len(self._processes):
            self._processes.append(process)
        return thread

    def trace(self) -> Trace:
        ambiguous = 0
        if len(set(self._processes)) > 1:
            ambiguous = sum(self._forget_shared(ids) for ids in (self._operator_ids, self._launch_ids))
        host = HostEvents(
            self._host_names,
            self._host_threads,
            self._starts,
            self._host_durations,
            self._operator_ids,
            self._launch_ids,
        )
        device = DeviceEvents(self._device_names, self._device_durations, self._device_operators, self._device_launches)
        return Trace(host, device, self._malformed, ambiguous)

    def _forget_shared(self, ids: array[int]) -> int:
        """Set to 0 the ids that several processes use: a device event does not say which process launched it."""
        owner: dict[int, Any] = {}
        shared: set[int] = set()
        for found, thread in zip(ids, self._host_threads, strict=True):
            process = self._processes[thread]
            if found and owner.setdefault(found, process) != process:
                shared.add(found)
        forgotten = 0
        for index, found in enumerate(ids):
            if found in shared:
                ids[index] = 0
                forgotten += 1
        return forgotten


def _ns(value: Any) -> int | None:
    """Nanoseconds of a time in microseconds; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    if not -MOST_MICROSECONDS < value < MOST_MICROSECONDS:
        return None
    return round(value * 1000)


def _id(args: Any, *keys: str) -> int:
    """A positive id under the first of these keys; 0 where there is none."""
    found: Any = next((args[key] for key in keys if key in args), 0) if isinstance(args, dict) else 0
    return found if isinstance(found, int) and 0 < found < 1 << 63 else 0
