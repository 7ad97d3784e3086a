"""Standard output and error that never end a command: a reader may close them, or they may not be there at all.

Python turns a write into a closed pipe into an exception in the middle of whatever wrote: a run would die of
`llmperf run 2>&1 | head -1`. Here the rest of the output goes to /dev/null, and the command goes on to its own exit
code; what a full disk did not take is said by `lost_output`.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_GONE = (errno.EPIPE, errno.EIO)
"""Nobody reads any more: a pipe that was closed, a terminal that was hung up."""
_lost: dict[int, OSError] = {}


class _Forgiving(io.FileIO):
    """A descriptor whose later output goes nowhere once a write has failed."""

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in _GONE:
                _lost[self.fileno()] = error
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            return len(memoryview(data))


def settle() -> None:
    """Make the standard streams of this process such; streams that a caller has replaced are left alone."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # Else the next file to be opened would get its number, and our messages.
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)
            os.set_inheritable(descriptor, True)
    if sys.stdout is sys.__stdout__:
        sys.stdout = _forgiving(sys.stdout, 1)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _forgiving(sys.stderr, 2)


def _forgiving(stream: TextIO | None, descriptor: int) -> TextIO:
    raw = _Forgiving(descriptor, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding if stream is not None else "utf-8",
        errors=stream.errors if stream is not None else "backslashreplace",
        line_buffering=descriptor == 2 or raw.isatty(),
    )


def lost_output() -> OSError | None:
    """Why results are missing on standard output, for another reason than that nobody reads it."""
    sys.stdout.flush()
    return _lost.get(1)
