"""Hand-made runs at chosen times, with the figures that their reports hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from llm_perf_opt.artifacts.run_directory import read_manifest
from llm_perf_opt.records.workload import Workload
from llm_perf_opt.reports.write import write_reports
from tests.launching import timed, write_run


def past_run(path: Path, day: int, scale: float = 1.0, *, launches: int = 1, **changes: Any) -> Path:
    """A run of this day of 2026 whose repeats take `scale` times as long.

    Args:
        changes: of its workload.
    """
    return written(path, day, *[timed(scale * (1 + number / 1000), **changes) for number in range(launches)])


def written(path: Path, day: int, *launches: Workload) -> Path:
    write_run(path, *launches, block=path.name)
    change_json(
        path / "run.json", status="completed", created=f"2026-{1 + day // 28:02}-{1 + day % 28:02}T00:00:00.000Z"
    )
    write_reports(path, read_manifest(path))
    return path


def change_json(file: Path, **changes: Any) -> None:
    """Replace keys of a JSON object in a file."""
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | changes))
