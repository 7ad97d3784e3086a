"""The sha256 of every file of a run: made when the run ends, held against the files by whoever reads them later."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from llm_perf_opt.artifacts.files import is_temporary, sha256_of
from llm_perf_opt.artifacts.layout import (
    KERNELS,
    MANIFEST,
    METRICS,
    OPERATORS,
    REPORT,
    REPORT_HTML,
    RUN_LOG,
    SUMMARY,
    TABLES,
)
from llm_perf_opt.errors import MissingError
from llm_perf_opt.records.manifest import Manifest

_UNSIGNED = (MANIFEST, RUN_LOG)
_REPORTS = frozenset({REPORT, REPORT_HTML, SUMMARY, METRICS, OPERATORS, KERNELS})
"""Names of what reports are, which is made again from the records."""
_RECORDS = (".json", ".jsonl", ".yaml", ".parquet", TABLES)
"""Endings of what reports are made from; captures and pictures are only named there."""
_SCRATCH = "tmp"


@dataclass(frozen=True)
class Damage:
    """A file that is not what the manifest says."""

    file: str
    """Relative to the run directory."""
    what: Literal["is missing", "has changed", "cannot be read"]

    def __str__(self) -> str:
        return f"{self.file} {self.what}"


class Digests:
    """Digests of the files of one run directory; a file is read once as long as it does not change."""

    def __init__(self, run_path: Path) -> None:
        self._run_path = run_path
        self._known: dict[str, tuple[tuple[int, int, int], str]] = {}

    def of(self, file: Path) -> str:
        """Hex sha256 of `file`."""
        status = file.stat()
        state = (status.st_ino, status.st_size, status.st_mtime_ns)
        known = self._known.get(str(file))
        if known is None or known[0] != state:
            known = self._known[str(file)] = (state, sha256_of(file))
        return known[1]

    def all(self) -> tuple[dict[str, str], list[str]]:
        """Digests of all files of the run, by name, and the names of those that cannot be read."""
        found: dict[str, str] = {}
        unread = []
        for file in _files(self._run_path):
            name = file.relative_to(self._run_path).as_posix()
            if name in _UNSIGNED:
                continue
            try:
                name.encode()  # JSON has no other names
                found[name] = self.of(file)
            except FileNotFoundError:
                continue  # removed a moment ago
            except (OSError, UnicodeError):
                unread.append(os.fsencode(name).decode(errors="backslashreplace"))
        return found, unread

    def damage(self, recorded: Mapping[str, str], names: Collection[str]) -> list[Damage]:
        """Which of these files are not those whose digests were recorded."""
        found = []
        for name in names:
            try:
                if self.of(self._run_path / name) != recorded[name]:
                    found.append(Damage(name, "has changed"))
            except (FileNotFoundError, NotADirectoryError):
                found.append(Damage(name, "is missing"))
            except OSError:
                found.append(Damage(name, "cannot be read"))
        return found


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_temporary(name))
        for name in sorted(files):
            path = Path(place, name)
            if not is_temporary(name) and path.is_file() and not path.is_symlink():
                yield path


def is_report(name: str) -> bool:
    """Whether a file of that name is made from the records of its run, and can be at any time."""
    path = PurePosixPath(name)
    return path.name in _REPORTS and path.parts[0] != _SCRATCH


def is_record(name: str) -> bool:
    """Whether reports are made from a file of that name."""
    scratch = name.split("/", 1)[0] == _SCRATCH
    return name.endswith(_RECORDS) and not scratch and not is_report(name)


def refuse_damaged(run_path: Path, manifest: Manifest) -> list[Damage]:
    """Check what reports are made from; the files they only point at that are missing are returned.

    Raises:
        MissingError: a record is missing or was changed.
    """
    digests = Digests(run_path)
    records = [name for name in manifest.artifacts if is_record(name)]
    damaged = digests.damage(manifest.artifacts, records)
    if damaged:
        again = "import the files again" if manifest.imported else f"measure again: llmperf run --resume {run_path}"
        raise MissingError(
            f"{run_path} is not what its manifest says: {'; '.join(map(str, damaged))}",
            f"restore {'it' if len(damaged) == 1 else 'them'}, or {again}",
        )
    others = (name for name in manifest.artifacts if name not in records and not is_report(name))
    return [Damage(name, "is missing") for name in others if not (run_path / name).exists()]
