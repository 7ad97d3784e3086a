"""Where a new run goes, and taking that place so that no other run can."""

from __future__ import annotations

import contextlib
import os
from datetime import datetime
from pathlib import Path

from llm_perf_opt.artifacts.files import writing
from llm_perf_opt.artifacts.layout import MANIFEST
from llm_perf_opt.errors import ConfigError


def place_of(output: Path | None, runs_dir: Path, run_id: str | None) -> tuple[Path, bool]:
    """Where a run goes, and whether another number does as well; one that is taken before it begins is no fault then.

    Raises:
        ConfigError: a place that was asked for holds a run, or is no directory.
    """
    path, numbered = output or new_path(runs_dir, run_id), output is None and run_id is None
    if not numbered:
        refuse_existing(path)
    return path, numbered


def new_path(runs_dir: Path, run_id: str | None) -> Path:
    """Where a new run goes: `runs_dir/run_id`, or the local time, numbered where that second is taken."""
    if run_id is not None:
        return runs_dir / run_id
    path = runs_dir / datetime.now().strftime("%Y%m%d-%H%M%S")
    return _numbered(path) if path.exists() else path


def _numbered(path: Path) -> Path:
    """The first name after `path` that nothing has."""
    number = 1
    while (found := path.with_name(f"{path.name}-{number}")).exists():
        number += 1
    return found


def refuse_existing(path: Path) -> None:
    """Raise ConfigError when `path` already holds a run or is no directory."""
    if (path / MANIFEST).exists():
        raise _taken(path)
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path} is a file, not a directory", "choose another --output")


def _taken(path: Path) -> ConfigError:
    return ConfigError(
        f"{path} already holds a run", "choose another --output, or go on with it: llmperf run --resume DIR"
    )


def claim_directory(path: Path) -> Path:
    """Make the directory `path`, or the next number after it where another process was faster; its path.

    Raises:
        MissingError, StageError: it cannot be made.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        claimed = path
        while True:
            try:
                claimed.mkdir()
            except FileExistsError:
                claimed = _numbered(path)
            else:
                return claimed


def claim_run(path: Path, manifest: str, *, numbered: bool) -> Path:
    """Make a run directory and its manifest, which nothing else has then; its path.

    Args:
        manifest: the contents of the manifest.
        numbered: another name may be taken where `path` is in use; else the directory may be there, without a run.

    Raises:
        ConfigError: `path` holds a run.
        MissingError, StageError: it cannot be written.
    """
    if numbered:
        path = claim_directory(path)
    else:
        refuse_existing(path)
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
    try:
        claim_file(path / MANIFEST, manifest)
    except FileExistsError:
        raise _taken(path) from None
    except BaseException:
        with contextlib.suppress(OSError):
            path.rmdir()  # nothing is in it
        raise
    return path


def claim_file(path: Path, text: str) -> None:
    """Write a file that nobody has written before.

    Raises:
        FileExistsError: somebody has.
        MissingError, StageError: it cannot be written.
    """
    with writing(path):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            pass
        else:
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(text.encode())
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            return
    raise FileExistsError(path)
