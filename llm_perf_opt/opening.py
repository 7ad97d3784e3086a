"""Opening files that may be anything: a device that never ends, a pipe nobody writes, a socket, a folder.

Whatever takes a path from a user or from another machine opens it here, and gets a regular file or an error at once.
The errors are `OSError`s, so that each place says them in its own words.
"""

from __future__ import annotations

import errno
import json
import os
import re
import select
import stat
import time
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    import sqlite3

SILENCE_S = 5.0
"""A pipe whose writer says nothing for this long is given up."""
READ_AT_ONCE_BYTES = 1 << 16
MOST_CELL_BYTES = 256 << 20
"""No value of a recorded database is nearly so large; one that is computed may be."""
_HALF = re.compile("[\ud800-\udfff]")
_KINDS = {
    stat.S_IFCHR: "a device, not a file",
    stat.S_IFBLK: "a device, not a file",
    stat.S_IFSOCK: "a socket, not a file",
    stat.S_IFIFO: "a pipe, not a file",
}


class NotAFileError(OSError):
    """There is something under that name which is no regular file."""


def open_file(path: Path) -> BufferedReader:
    """A regular file, open for reading; a link is followed.

    Raises:
        OSError: it is not there, may not be read, has a name that no file can have, or is no regular file.
    """
    descriptor = _descriptor(path)
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        raise _refusal(kind, path)
    return os.fdopen(descriptor, "rb")


def read_file(path: Path, most_bytes: int | None = None) -> bytes:
    """What a regular file holds, or its first `most_bytes`.

    Raises:
        OSError: as `open_file`.
    """
    with open_file(path) as file:
        return file.read() if most_bytes is None else file.read(most_bytes)


def read_stream(path: Path, most_bytes: int) -> bytes:
    """The first `most_bytes` of a regular file, or of a pipe that somebody writes (`<(command)`, `/dev/stdin`).

    Raises:
        OSError: as `open_file`; nobody writes the pipe, or the writer says nothing.
    """
    descriptor = _descriptor(path)
    try:
        kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
        if kind not in (stat.S_IFREG, stat.S_IFIFO):
            raise _refusal(kind, path)
        found = bytearray()
        deadline = time.monotonic() + SILENCE_S
        while len(found) < most_bytes:
            try:
                block = os.read(descriptor, min(READ_AT_ONCE_BYTES, most_bytes - len(found)))
            except BlockingIOError:
                left_ms = 1000 * (deadline - time.monotonic())
                if left_ms <= 0:
                    raise NotAFileError(errno.ETIMEDOUT, f"a pipe that said nothing for {SILENCE_S:.0f} s") from None
                poll = select.poll()
                poll.register(descriptor, select.POLLIN)
                poll.poll(left_ms)
                continue
            if not block:
                break
            found += block
            deadline = time.monotonic() + SILENCE_S
        if kind == stat.S_IFIFO and not found:
            raise NotAFileError(errno.EPIPE, "a pipe that nobody writes", str(path))
        return bytes(found)
    finally:
        os.close(descriptor)


def check_file(path: Path) -> None:
    """For a library that opens the file itself: refuse what `open_file` refuses.

    Raises:
        OSError: as `open_file`.
    """
    open_file(path).close()


def parse_json(text: str | bytes) -> Any:
    """What a JSON text of elsewhere holds.

    Raises:
        ValueError: it is none, or nested too deep for a reader that calls itself.
    """
    try:
        return without_halves(json.loads(text))
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def without_halves(value: Any) -> Any:
    """A value of JSON with U+FFFD for every half of a character, which an escape can spell and no file can hold.

    Raises:
        RecursionError: it is nested deeper than a reader of JSON takes.
    """
    if isinstance(value, str):
        return _HALF.sub("\ufffd", value)
    if isinstance(value, list):
        return [without_halves(item) for item in value]
    if isinstance(value, dict):
        return {without_halves(key): without_halves(item) for key, item in value.items()}
    return value


def open_database(path: Path) -> sqlite3.Connection:
    """An SQLite file for reading, which holds tables alone: views and triggers are programs of whoever wrote the file.

    Raises:
        OSError: as `open_file`.
        sqlite3.Error: it is no database, it is damaged, or it holds a view or a trigger.
    """
    import sqlite3

    check_file(path)
    # `?`, `#` and `%` in the path would end it or be decoded.
    connection = sqlite3.connect(f"file:{quote(os.fsencode(path.resolve()))}?mode=ro&immutable=1", uri=True)
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MOST_CELL_BYTES)
        programs = "SELECT type, CAST(name AS BLOB) FROM sqlite_master WHERE type IN ('view', 'trigger')"
        for kind, name in connection.execute(programs):
            raise sqlite3.DatabaseError(
                f"it holds the {kind} {ascii(name.decode(errors='replace'))[:100]}, and not data alone"
            )
    except UnicodeDecodeError as error:  # what sqlite says of the schema quotes it
        connection.close()
        raise sqlite3.DatabaseError("its schema is damaged, and not UTF-8") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _descriptor(path: Path) -> int:
    # Not blocking, so that a pipe without a writer and a line without a carrier open at once.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        return os.open(path, flags)
    except ValueError as error:  # a zero byte
        raise OSError(errno.EINVAL, str(error)) from error
    except OSError as error:
        if error.errno == errno.ENXIO:  # what opening a socket, or a device without a driver, says
            raise _refusal(stat.S_IFMT(os.stat(path).st_mode), path) from error  # noqa: PTH116 - may be bytes
        raise


def _refusal(kind: int, path: Path) -> OSError:
    if kind == stat.S_IFDIR:
        return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return NotAFileError(errno.EINVAL, f"it is {_KINDS.get(kind, 'no regular file')}", str(path))
