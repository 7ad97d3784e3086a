"""Nsight Compute as a program: asking it what it knows, printing its reports, and finding them."""

from __future__ import annotations

import re
from pathlib import Path


def raw_csv_argv(ncu: str | Path, report: Path, include: str | None = None) -> list[str]:
    """Every metric of every kernel as CSV on standard output, one column a metric, units in the second row.

    Args:
        include: only results inside this NVTX expression; `--nvtx` is for profiling, and refused with `--import`.
    """
    return [str(ncu), "--import", str(report), *_within(include), "--csv", "--page", "raw"]


def details_argv(ncu: str | Path, report: Path, include: str | None = None) -> list[str]:
    """The sections as a person reads them, on standard output (`sections_report.txt`)."""
    return [str(ncu), "--import", str(report), *_within(include), "--page", "details", "--print-details", "all"]


def _within(include: str | None) -> list[str]:
    return [] if include is None else ["--nvtx-include", include]


def query_metrics_argv(ncu: str | Path) -> list[str]:
    """Names of the metrics of this machine's GPU, without suffixes."""
    return [str(ncu), "--query-metrics", "--csv"]


def list_sections_argv(ncu: str | Path) -> list[str]:
    """Identifiers of the sections this ncu knows."""
    return [str(ncu), "--list-sections", "--csv"]


def list_sets_argv(ncu: str | Path) -> list[str]:
    """The section sets this ncu knows, with their sections and how many metrics it takes each to have."""
    return [str(ncu), "--list-sets", "--csv"]


_PASSES = re.compile(r"^==PROF== Profiling .* - (\d+) pass(?:es)?\s*$", re.MULTILINE)


def passes(output: str) -> tuple[int, ...]:
    """How often each result was replayed, as ncu printed it."""
    return tuple(int(found) for found in _PASSES.findall(output))


def reports(output_dir: Path) -> list[Path]:
    """The reports a run left."""
    return sorted(output_dir.glob("*.ncu-rep"))
