"""Reads Nsight Compute reports (`.ncu-rep`) where ncu is not installed.

The layout, from the section "Report File Format" of NVIDIA's Customization Guide and the `.proto` files that
Nsight Compute installs under `extras/FileFormat` (read in 2022.3): the magic `NVR\\0`; a file header; then blocks,
each a header and a payload of sources, kernel results and range results in that order. Every header and every entry
of a payload is a 4-byte little-endian length and a protobuf message. Metrics name themselves by their position in the
string table, to which any block may add.

What is not needed for the raw page and the results of ncu's rules is skipped: source, sections, the instances of a
metric, NVTX state.
"""

from __future__ import annotations

import contextlib
import io
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal

from llm_perf_opt.errors import MissingError, StageError
from llm_perf_opt.formats.ncu_raw import Profiled, RawPage, RawRow, Value, text
from llm_perf_opt.formats.ncu_units import base_unit
from llm_perf_opt.opening import open_file
from llm_perf_opt.records.kernels import RuleResult

MAGIC = b"NVR\0"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
VERSION = 7
"""Of the file format; the same in ncu 2020.3 and 2022.4."""

# Field numbers of the messages, by their names in the .proto files.
FILE_VERSION = 1
NUM_SOURCES, NUM_RESULTS, SESSION_DETAILS, STRING_TABLE, PAYLOAD_SIZE, PROCESS, NUM_RANGES = range(1, 8)
FUNCTION_NAME, DEMANGLED_NAME, GRID_SIZE, BLOCK_SIZE, KERNEL_METRICS, KERNEL_CONTEXT, KERNEL_STREAM = (
    6, 7, 10, 11, 13, 22, 23
)  # fmt: skip
KERNEL_RULES, RANGE_METRICS, RANGE_CONTEXT = 19, 4, 11
RULE_NAME, RULE_BODY, RULE_SECTION = 1, 3, 4
BODY_ITEMS, ITEM_MESSAGE, ITEM_SPEEDUP = 1, 1, 10
MESSAGE_TEXT, MESSAGE_KIND, SPEEDUP_KIND, SPEEDUP_PCT = 1, 2, 1, 2
KINDS = {1: "INF", 2: "WRN", 3: "ERR", 4: "OPT"}
"""As ncu prints them."""
SPEEDUPS: dict[int, Literal["local", "global"]] = {1: "local", 2: "global"}
NAME_ID, METRIC_VALUE = 1, 2
STRING_VALUE, FLOAT_VALUE, DOUBLE_VALUE = 1, 2, 3

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
Field = int | memoryview


class _Broken(Exception):
    """The bytes are not what the format says; the text says what was expected."""


@dataclass(frozen=True)
class _Process:
    pid: int | None = None
    host: str = ""
    name: str = ""


@dataclass(frozen=True)
class _Result:
    """One profiled launch, or one profiled range."""

    message: memoryview
    is_range: bool
    process: _Process
    strings: Sequence[str]
    """The string table as far as the file was read; shared."""


def is_report(start: bytes) -> bool:
    """Whether a file that begins with these bytes is a report, compressed or not."""
    return start.startswith((MAGIC, ZSTD_MAGIC))


def read_report(path: Path) -> RawPage:
    """The raw page of a report, values in base units and with all their digits.

    Units follow from the names of the metrics (see `ncu_units`); a report holds none. A metric that only some results
    have is None in the others.

    Raises:
        MissingError: the file is not there or cannot be opened.
        StageError: it is no report, a damaged one, or of a version of the format that is not known here; also while
            rows are read.
    """
    # Read twice rather than kept: a report can hold many thousand results of many hundred metrics.
    with _reading(path) as file:
        used = {name for result in _results(file) for name, _ in _metrics(result)}
    # Groups and breakdowns are lists of other metrics, which ncu does not export either.
    names = sorted(name for name in used if ":" not in name)
    return RawPage(
        metrics={name: position for position, name in enumerate(names)},
        units={name: base_unit(name) for name in names},
        rows=_rows(path, names),
    )


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[BinaryIO]:
    try:
        with open_file(path) as file:
            yield file
    except OSError as error:
        raise MissingError(f"{path} cannot be read: {error.strerror}", "name an .ncu-rep file") from error
    except (_Broken, struct.error, UnicodeDecodeError) as error:
        raise StageError(
            f"{path} cannot be read as an Nsight Compute report: {error}",
            "export it where ncu is installed, and use that: ncu --import FILE --csv --page raw > raw.csv",
        ) from error


def _rows(path: Path, names: Sequence[str]) -> Iterator[RawRow]:
    with _reading(path) as file:
        for number, result in enumerate(_results(file)):
            values = {name: _value(value) for name, value in _metrics(result)}
            cells = [values.get(name) for name in names]
            yield RawRow(_profiled(str(number), result, values), cells, rules=tuple(_rules(result)))


def read_rules(path: Path) -> Iterator[tuple[Profiled, tuple[RuleResult, ...]]]:
    """What ncu's rules said of each result of a report, without its metrics.

    Raises:
        MissingError, StageError: as `read_report` does.
    """
    with _reading(path) as file:
        for number, result in enumerate(_results(file)):
            yield _profiled(str(number), result, {}), tuple(_rules(result))


def _profiled(number: str, result: _Result, values: dict[str, Value]) -> Profiled:
    found = {field: value for field, _, value in _fields(result.message)}
    capability = [text(values.get(f"device__attribute_compute_capability_{part}")) for part in ("major", "minor")]
    if result.is_range:
        name, context, stream, block, grid = "range", _number(found.get(RANGE_CONTEXT)), "", "", ""
    else:
        name = _text(found.get(DEMANGLED_NAME)) or _text(found.get(FUNCTION_NAME))
        context, stream = _number(found.get(KERNEL_CONTEXT)), _number(found.get(KERNEL_STREAM))
        block, grid = _size(found.get(BLOCK_SIZE)), _size(found.get(GRID_SIZE))
    return Profiled(
        id=number,
        process_id="" if result.process.pid is None else str(result.process.pid),
        process_name=result.process.name,
        host=result.process.host,
        name=name,
        context=context,
        stream=stream,
        block=block,
        grid=grid,
        device=text(values.get("launch__device_id")),
        compute_capability=".".join(capability) if all(capability) else "",
    )


def _metrics(result: _Result) -> Iterator[tuple[str, Field | None]]:
    """The metrics of one result: name, and the message of its value where it has one."""
    wanted = RANGE_METRICS if result.is_range else KERNEL_METRICS
    for number, _, metric in _fields(result.message):
        if number != wanted:
            continue
        parts = {part: value for part, _, value in _fields(_message(metric))}
        name_id = parts.get(NAME_ID)
        if not isinstance(name_id, int) or name_id >= len(result.strings):
            raise _Broken(f"a metric names string {name_id}, and the string table has {len(result.strings)}")
        yield result.strings[name_id], parts.get(METRIC_VALUE)


# Links in a message, as ncu prints them: `@section:LaunchStats:Launch Statistics@` is its text, and
# `@url:the guide:https://…@` is "the guide (https://…)".
_URL, _LINK = re.compile(r"@url:([^@:]*):([^@]*)@"), re.compile(r"@(?:section|source|sass):[^@]*:([^@:]*)@")


def _rules(result: _Result) -> Iterator[RuleResult]:
    """The messages of the rules; a speed-up follows the message that it is of. Ranges have none."""
    if result.is_range:
        return
    for number, _, rule in _fields(result.message):
        if number != KERNEL_RULES:
            continue
        parts = list(_fields(_message(rule)))
        name, section = (
            _text(next((value for part, _, value in parts if part == wanted), None))
            for wanted in (RULE_NAME, RULE_SECTION)
        )
        found: list[RuleResult] = []
        for part, _, body in parts:
            if part == RULE_BODY:
                _add_messages(found, _message(body), name, section)
        yield from found


def _add_messages(found: list[RuleResult], body: memoryview, name: str, section: str) -> None:
    items = (_message(item) for number, _, item in _fields(body) if number == BODY_ITEMS)
    for number, content in ((part, value) for item in items for part, _, value in _fields(item)):
        if number == ITEM_MESSAGE:
            message = {part: value for part, _, value in _fields(_message(content))}
            said = _LINK.sub(r"\1", _URL.sub(r"\1 (\2)", _text(message.get(MESSAGE_TEXT))))
            kind = message.get(MESSAGE_KIND)
            shown = KINDS.get(kind, "") if isinstance(kind, int) else ""
            found.append(RuleResult(section=section, name=name, kind=shown, message=said))
        elif number == ITEM_SPEEDUP and found:
            speedup = {part: value for part, _, value in _fields(_message(content))}
            kind, percent = speedup.get(SPEEDUP_KIND), speedup.get(SPEEDUP_PCT)
            found[-1] = found[-1].model_copy(
                update={
                    "speedup_kind": SPEEDUPS.get(kind) if isinstance(kind, int) else None,
                    "speedup_pct": None if percent is None else struct.unpack("<d", _message(percent))[0],
                }
            )


def _value(value: Field | None) -> Value:
    """A metric's value; None where it has none."""
    if value is None:
        return None
    for number, wire, content in _fields(_message(value)):
        if number == STRING_VALUE:
            return _text(content)
        if wire in (FIXED32, FIXED64):
            found: float = struct.unpack("<f" if number == FLOAT_VALUE else "<d", _message(content))[0]
            return found
        return content if isinstance(content, int) else None
    return None


def _text(value: Field | None) -> str:
    return "" if value is None else bytes(_message(value)).decode("utf-8", errors="replace")


def _number(value: Field | None) -> str:
    return str(value) if isinstance(value, int) else ""


def _size(value: Field | None) -> str:
    if value is None:
        return ""
    sizes = {axis: size for axis, _, size in _fields(_message(value))}
    return "(" + ", ".join(str(sizes.get(axis, 0)) for axis in (1, 2, 3)) + ")"


def _results(file: BinaryIO) -> Iterator[_Result]:
    """Every result, in the order of the file; sources are passed over unread."""
    file.seek(0)
    start = file.read(len(MAGIC))
    if start == ZSTD_MAGIC:
        raise _Broken("it is compressed with zstd; decompress it first: zstd -d FILE -o report.ncu-rep")
    if start != MAGIC:
        raise _Broken(f"it begins with {start!r}, not with {MAGIC!r}")
    size = file.seek(0, io.SEEK_END)
    offset, length = _message_at(file, len(MAGIC), size)
    version = _first(_read_at(file, offset, length), FILE_VERSION)
    if version != VERSION:
        raise _Broken(f"its format has version {version}; version {VERSION} is known here")
    offset += length
    strings: list[str] = []
    while offset < size:
        offset, length = _message_at(file, offset, size)
        header = {number: value for number, _, value in _fields(_read_at(file, offset, length))}
        offset += length
        end = offset + _count(header, PAYLOAD_SIZE)
        if end > size:
            raise _Broken(f"it is cut off: a block ends at byte {end:,}, and the file has {size:,}")
        if STRING_TABLE in header:
            table = _fields(_message(header[STRING_TABLE]))
            strings += [_text(value) for number, _, value in table if number == 1]
        yield from _payload(file, offset, end, header, strings)
        offset = end


def _payload(
    file: BinaryIO, offset: int, end: int, header: dict[int, Field], strings: Sequence[str]
) -> Iterator[_Result]:
    process = _process(header)
    for kind in (NUM_SOURCES, NUM_RESULTS, NUM_RANGES):
        for _ in range(_count(header, kind)):
            offset, length = _message_at(file, offset, end)
            if kind != NUM_SOURCES:
                yield _Result(_read_at(file, offset, length), kind == NUM_RANGES, process, strings)
            offset += length


def _process(header: dict[int, Field]) -> _Process:
    if PROCESS in header:
        found = {number: value for number, _, value in _fields(_message(header[PROCESS]))}
        pid = found.get(1)
        name = PurePosixPath(_text(found.get(3)).replace("\\", "/")).name
        return _Process(pid if isinstance(pid, int) else None, _text(found.get(2)), name)
    # Reports of a single process may say it once only, in the details of their session.
    details = header.get(SESSION_DETAILS)
    pid = None if details is None else _first(_message(details), 1)
    return _Process(pid if isinstance(pid, int) else None)


def _message_at(file: BinaryIO, offset: int, end: int) -> tuple[int, int]:
    """Offset and length of the message whose length stands at `offset`, which must end by `end`."""
    length = struct.unpack("<I", _read_at(file, offset, 4))[0]
    if offset + 4 + length > end:
        raise _Broken(f"it is cut off: a message of {length:,} bytes at byte {offset:,} ends after byte {end:,}")
    return offset + 4, length


def _read_at(file: BinaryIO, offset: int, length: int) -> memoryview:
    file.seek(offset)
    data = file.read(length)
    if len(data) != length:
        raise _Broken(f"it is cut off: {length:,} bytes were expected at byte {offset:,}, and {len(data):,} are there")
    return memoryview(data)


def _count(header: dict[int, Field], number: int) -> int:
    value = header.get(number, 0)
    if not isinstance(value, int):
        raise _Broken(f"field {number} of a block header is no number")
    return value


def _first(message: memoryview, wanted: int) -> Field | None:
    return next((value for number, _, value in _fields(message) if number == wanted), None)


def _message(value: Field) -> memoryview:
    if isinstance(value, int):
        raise _Broken("a number stands where a message was expected")
    return value


def _fields(message: memoryview) -> Iterator[tuple[int, int, Field]]:
    """The fields of a protobuf message: (number, wire type, value).

    https://protobuf.dev/programming-guides/encoding/ describes the encoding.
    """
    position, end = 0, len(message)
    while position < end:
        tag, position = _varint(message, position)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, position = _varint(message, position)
            yield number, wire, value
            continue
        if wire == BYTES:
            length, position = _varint(message, position)
        elif wire in (FIXED32, FIXED64):
            length = 4 if wire == FIXED32 else 8
        else:
            raise _Broken(f"a field has the unknown wire type {wire}")
        if position + length > end:
            raise _Broken(f"a field of {length:,} bytes does not fit into its message")
        yield number, wire, message[position : position + length]
        position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        if position >= len(message):
            raise _Broken("a number is cut off")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise _Broken("a number has more than ten bytes")
