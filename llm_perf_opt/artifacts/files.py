"""Atomic writes, the temporary files that a kill may leave of them, and digests."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from llm_perf_opt.errors import MissingError, StageError
from llm_perf_opt.opening import open_file

COPIED_AT_ONCE_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}(-journal)?")


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


def temporary_name(name: str) -> str:
    """What a file is called until it is whole."""
    return f".{name}.{secrets.token_hex(4)}"


def is_temporary(name: str) -> bool:
    """Whether a file of that name is one that is not whole."""
    return _TEMPORARY.fullmatch(name) is not None


def clear_temporary(folder: Path) -> list[str]:
    """Remove what a killed process left half-written below `folder`; the names, relative to it."""
    removed = []
    for place, folders, files in os.walk(folder):
        for name in filter(is_temporary, [*folders, *files]):
            path = Path(place, name)
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    path.unlink()
            removed.append(path.relative_to(folder).as_posix())
        folders[:] = [name for name in folders if not is_temporary(name)]
    return sorted(removed)


@contextlib.contextmanager
def replacing(path: Path, clean: Callable[[Path], None] = lambda _: None, *, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` once it is whole; its mode is what the umask leaves of `mode`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(temporary_name(path.name))
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        clean(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str, *, mode: int = 0o666) -> None:
    """Write `text` so that a reader sees the old file or the new one, never half of it.

    Args:
        mode: of which the umask leaves a part.

    Raises:
        MissingError: there is no permission.
        StageError: the disk is full, the path is too long, …
    """
    with writing(path), replacing(path, mode=mode) as file:
        file.write(text.encode(errors="backslashreplace"))


def write_text_in(folder: int, path: Path, text: str) -> None:
    """`write_text` into the directory that is open as `folder`, wherever that is by now; it is not made again.

    Args:
        path: where the file was when the directory was opened.

    Raises:
        MissingError, StageError: as `write_text`, or the directory is gone.
    """
    temporary = temporary_name(path.name)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with writing(path):
        descriptor = os.open(temporary, flags, 0o666, dir_fd=folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode(errors="backslashreplace"))
            os.replace(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise


def copy_file(source: Path, target: Path, *, clean: Callable[[Path], None] = lambda _: None) -> str:
    """Copy a file's contents, whole or not at all, and return their hex sha256; a link is followed.

    Args:
        clean: takes out of the copy what is not to be kept, before it has its name; where that raises, there is none.

    Raises:
        MissingError: the source cannot be read, or there is no permission to write.
        StageError: the disk is full, …
    """
    digest = hashlib.sha256()
    try:
        reader = open_file(source)
    except OSError as error:
        raise MissingError(f"{source} cannot be read: {error.strerror}", "name a file that can be read") from error
    with reader, writing(target), replacing(target, clean) as file:
        while block := reader.read(COPIED_AT_ONCE_BYTES):
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's contents."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
