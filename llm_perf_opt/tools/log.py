"""A log file that a program writes to directly and that keeps its start and its end when it grows too long."""

from __future__ import annotations

import os
import re
from pathlib import Path

MARKER = "[llmperf: {} bytes of output left out here]"
_MARKER_LINE = re.compile(re.escape(MARKER).replace(re.escape("{}"), r"\d+"))


class CappedLog:
    """Open for appending; `fd` is what a child gets as its output.

    Past `cap_bytes`, `trim` keeps the first and the last quarter of that and a line between that says how much
    is missing. Children append (O_APPEND), so cutting the file under them moves their next write to its new end.
    """

    def __init__(self, path: Path, cap_bytes: int) -> None:
        self.path = path
        self.truncated = False
        self._cap = cap_bytes
        self._keep = cap_bytes // 4
        self._head: int | None = None
        self._after = 0  # where the last cut left the file
        self._left_out = 0
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o666)

    def __enter__(self) -> CappedLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.trim()
        os.close(self.fd)

    def trim(self) -> None:
        """Cut the middle out if the file is past its cap."""
        size = os.fstat(self.fd).st_size
        if size <= self._cap:
            return
        if self._head is None:
            head = os.pread(self.fd, self._keep, 0)
            self._head = head.rfind(b"\n") + 1 or len(head)
        tail = os.pread(self.fd, self._keep, size - self._keep)
        tail = tail[tail.find(b"\n") + 1 :]
        # Everything between is gone, of which the line of the last cut was none of the program's output.
        self._left_out += size - self._head - len(tail) - self._after
        marker = (MARKER.format(self._left_out) + "\n").encode()
        self._after = len(marker)
        os.ftruncate(self.fd, self._head)
        os.write(self.fd, marker + tail)
        self.truncated = True


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log, without the marker of a cut; empty when there is no such file.

    Reads at most 64 KiB from the end, so one enormous line is cut at its start.
    """
    try:
        with log.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - (64 << 10)))
            text = stream.read().decode(errors="replace")
    except OSError:
        return ""
    # Progress bars rewrite their line with \r: only what was written last stands.
    kept = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")]
    kept = [line for line in kept if not _MARKER_LINE.fullmatch(line)]
    while kept and not kept[-1]:
        kept.pop()
    return "\n".join(kept[-lines:])
