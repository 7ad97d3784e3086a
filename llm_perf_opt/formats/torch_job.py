"""What a trace of torch.profiler says of the job that it is a rank of, without reading its events.

The profiler writes it before the events; tools that write traces again may put it behind them.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from llm_perf_opt.formats.json_chunks import GZIP_MAGIC, unpacked_start
from llm_perf_opt.opening import open_file

KEY = b'"distributedInfo"'
LOOKED_AT_BYTES = 1 << 20
LONGEST_BYTES = 4 << 20
"""Groups of a large job are listed in it."""


@dataclass(frozen=True)
class Job:
    """None: the trace does not say."""

    rank: int | None = None
    world_size: int | None = None
    backend: str | None = None
    nccl: str | None = None


def job_of(path: Path) -> Job:
    """What a trace says of its job.

    Raises:
        OSError: it cannot be read.
    """
    start = unpacked_start(path, LOOKED_AT_BYTES)
    found = _object(start)
    if found is None:
        with open_file(path) as file:
            packed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
            file.seek(0)
            found = _anywhere(gzip.GzipFile(fileobj=file) if packed else file)
    found = found or {}
    return Job(
        _whole(found.get("rank")), _whole(found.get("world_size")), _text(found.get("backend")),
        _text(found.get("nccl_version")),
    )  # fmt: skip


def _anywhere(stream: IO[bytes] | gzip.GzipFile) -> dict[str, Any] | None:
    """What follows the key, wherever it stands; None where the text is damaged before it: reading it says how."""
    rest = b""
    with contextlib.suppress(gzip.BadGzipFile, EOFError, zlib.error):
        while block := stream.read(LOOKED_AT_BYTES):
            rest += block
            at = rest.find(KEY)
            if at >= 0:
                rest = rest[at:]
                found = _object(rest)
                if found is not None or len(rest) > LONGEST_BYTES:
                    return found
            else:
                rest = rest[-len(KEY) :]
    return None


def _object(text: bytes) -> dict[str, Any] | None:
    """The object behind the key, if it is there and whole."""
    at = text.find(KEY)
    if at < 0:
        return None
    behind = text[at + len(KEY) : at + len(KEY) + LONGEST_BYTES].decode("utf-8", "replace").lstrip()
    try:
        found, _ = json.JSONDecoder().raw_decode(behind.removeprefix(":").lstrip())
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
