"""What a stage wrote outside its run directory, by an absolute `save_dir`."""

from __future__ import annotations

from typing import Literal

from llm_perf_opt.records.base import Record


class FileElsewhere(Record):
    """One file, as it was when the stage ended."""

    path: str
    """Absolute."""
    size_bytes: int
    sha256: str


class Elsewhere(Record):
    """The files; of a gallery its page alone."""

    schema_version: Literal[1] = 1
    files: tuple[FileElsewhere, ...]
