"""Atomic writes and digests."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from llm_perf_opt.errors import MissingError, StageError


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write `path` into errors with a remedy."""
    try:
        yield
    except PermissionError as error:
        raise MissingError(
            f"no permission to write {path}", "choose another place with --output DIR or artifacts.runs_dir"
        ) from error
    except OSError as error:
        raise StageError(
            f"cannot write {path}: {error.strerror or error}", "free space there, or choose another place with --output"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write `text` so that a reader sees the old file or the new one, never half of it.

    Raises:
        MissingError: there is no permission.
        StageError: the disk is full, the path is too long, …
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
            Path(name).chmod(0o644)
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
