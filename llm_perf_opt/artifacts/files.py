"""Atomic writes and digests."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

from llm_perf_opt.errors import MissingError, StageError

COPIED_AT_ONCE_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"


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


def copy_file(source: Path, target: Path, *, pack: bool = False) -> str:
    """Copy a file's contents, whole or not at all, and return their hex sha256; a link is followed.

    Args:
        pack: write the copy as gzip, unless it is that already; the digest is that of the source.

    Raises:
        MissingError: the source cannot be read, or there is no permission to write.
        StageError: the disk is full, …
    """
    digest = hashlib.sha256()
    try:
        reader = source.open("rb")
    except OSError as error:
        raise MissingError(f"{source} cannot be read: {error.strerror}", "name a file that can be read") from error
    with reader, writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            block = reader.read(COPIED_AT_ONCE_BYTES)
            pack = pack and not block.startswith(GZIP_MAGIC)
            with os.fdopen(descriptor, "wb") as file, _packed(file, pack) as writer:
                while block:
                    digest.update(block)
                    writer.write(block)
                    block = reader.read(COPIED_AT_ONCE_BYTES)
            Path(name).chmod(0o644)
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    return digest.hexdigest()


@contextlib.contextmanager
def _packed(file: BinaryIO, pack: bool) -> Iterator[IO[bytes] | gzip.GzipFile]:
    if not pack:
        yield file
        return
    with gzip.GzipFile(fileobj=file, filename="", mode="wb", compresslevel=3, mtime=0) as packed:
        yield packed


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's contents."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
