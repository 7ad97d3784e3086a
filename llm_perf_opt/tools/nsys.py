"""Nsight Systems as a program: exporting what it captured, and finding it."""

from __future__ import annotations

from pathlib import Path

from llm_perf_opt.artifacts.layout import NSYS_OUTPUT
from llm_perf_opt.tools.options import Version

DISCARDS_ENVIRONMENT: Version = (2026, 2)
"""First release that `--discard-environment` was seen with; from then on the report keeps no process's environment."""


def keeps_environments(version: Version | None) -> bool:
    """Whether this release stores the environment of every process it may read in the report."""
    return version is None or version < DISCARDS_ENVIRONMENT


def export_argv(nsys: str | Path, report: Path) -> list[str]:
    """`nsys export` of one report to the SQLite file of the same name beside it."""
    output = report.with_suffix(".sqlite")
    return [str(nsys), "export", "--type", "sqlite", "--force-overwrite=true", "-o", str(output), str(report)]


def reports(output_dir: Path) -> list[Path]:
    """The reports a capture left, in order: `run.nsys-rep`, or, of several ranges, `run.1.nsys-rep`, …"""

    def number(path: Path) -> tuple[int, str]:
        middle = path.name.removeprefix(NSYS_OUTPUT).removesuffix(".nsys-rep").strip(".")
        return (int(middle) if middle.isdigit() else 0, path.name)

    return sorted(output_dir.glob(f"{NSYS_OUTPUT}*.nsys-rep"), key=number)


def raw_streams(output_dir: Path) -> list[Path]:
    """Captures that were written but not imported (`.qdstrm`): the importer is missing or failed."""
    return sorted(output_dir.glob(f"{NSYS_OUTPUT}*.qdstrm"))
