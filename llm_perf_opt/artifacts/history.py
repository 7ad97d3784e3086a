"""Where runs are below a folder: run directories are the history, and there is no other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llm_perf_opt.artifacts.layout import AB, MANIFEST, SIDE_A, SIDE_B
from llm_perf_opt.artifacts.run_directory import read_manifest
from llm_perf_opt.errors import MissingError
from llm_perf_opt.records.manifest import Manifest

LEVELS_DEEP = 4
"""Below the folder that is named: the sides of an A/B and the points of a sweep are two."""


@dataclass(frozen=True)
class PassedOver:
    """A folder or file that is not part of the history, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class PastRun:
    """A run and its manifest."""

    path: Path
    manifest: Manifest


def past_runs(places: Sequence[Path]) -> tuple[list[PastRun], list[PassedOver]]:
    """The runs in and below `places`, each once, newest first, and what was passed over.

    Raises:
        MissingError: a place is not there.
    """
    passed: list[PassedOver] = []
    paths: dict[Path, None] = {}
    for place in places:
        if not place.is_dir():
            raise MissingError(f"{place} is no folder", "name a run, or a folder of runs")
        if (place / MANIFEST).exists():
            paths[place] = None
        else:
            paths.update(dict.fromkeys(_below(place, LEVELS_DEEP, passed)))
    found = []
    for path in paths:
        try:
            found.append(PastRun(path, read_manifest(path)))
        except MissingError as error:
            passed.append(PassedOver(path, error.message))
    found.sort(key=lambda run: (run.manifest.created, str(run.path)), reverse=True)
    return found, passed


def _below(folder: Path, levels: int, passed: list[PassedOver]) -> Iterator[Path]:
    """Runs below a folder that is none itself; folders without any are passed over, the outermost of each."""
    for path in _folders(folder, passed):
        if (path / MANIFEST).exists():
            yield path
            continue
        inner: list[PassedOver] = []
        runs = list(_below(path, levels - 1, inner)) if levels > 1 else []
        yield from runs
        passed += inner if runs else [PassedOver(path, "it holds no run")]


def _folders(folder: Path, passed: list[PassedOver]) -> list[Path]:
    """By name; links are not followed, so that nothing is found twice, and hidden folders are nobody's runs."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(
                Path(entry.path)
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
            )
    except OSError as error:
        passed.append(PassedOver(folder, f"it cannot be read: {error.strerror}"))
        return []
    return [path for path in found if path.name in (SIDE_A, SIDE_B)] if (folder / AB).exists() else found
