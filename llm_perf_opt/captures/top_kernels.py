"""The kernels that take the time, from whatever was captured: a run, an nsys export, a table of `nsys stats`."""

from __future__ import annotations

import io
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from llm_perf_opt.artifacts.layout import FACTS, MANIFEST, TABLES, headline_dir, stage_dir
from llm_perf_opt.errors import ConfigError, MissingError, StageError
from llm_perf_opt.formats.json_chunks import looks_like_trace, unpacked_start
from llm_perf_opt.formats.nsys_export import SQLITE_MAGIC, open_export, table_names
from llm_perf_opt.formats.nsys_stats import read_summary
from llm_perf_opt.opening import open_file, read_file
from llm_perf_opt.records.kernels import TopKernel, TopKernels
from llm_perf_opt.records.tables import KernelRow, ProfileTables
from llm_perf_opt.records.tools import KernelTime, NsysCapture
from llm_perf_opt.registry import stage_leaving

LOOKED_AT_BYTES = 1 << 20
_EXPECTED = (
    "name a run directory, an SQLite export of nsys, a trace of torch.profiler, or a CSV of nsys stats --report "
    "cuda_gpu_kern_sum"
)
_METACHARACTERS = re.compile(r"[.^$*+?()\[\]{}|\\]")

# Runs of earlier versions list what else the torch profiler records on the device; ncu profiles kernels only.
_NOT_KERNELS = ("Memcpy ", "Memset ")


@dataclass(frozen=True, slots=True)
class KernelTotal:
    """All launches of one name in a source."""

    name: str
    launches: int
    total_ns: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Every kernel of one source."""

    source: str
    kernels: tuple[KernelTotal, ...]
    total_ns: int | None
    """Of all kernels, those that the source does not list included; None where it does not say."""
    not_listed: int = 0
    spelling: Literal["nsys", "torch"] = "nsys"


def exact_pattern(name: str) -> str:
    """ncu's `--kernel-name` that matches this name and no longer one; only what has a meaning in a regex is escaped."""
    return f"regex:^{_METACHARACTERS.sub(lambda found: chr(92) + found.group(), name)}$"


def top_kernels(source: Path, limit: int, phase: str | None = None) -> TopKernels:
    """The `limit` kernels with the longest total time.

    Args:
        source: run directory, SQLite file or CSV.
        phase: only launches within this phase (`prefill`, `decode`, …) of the profiled sample of a run.

    Raises:
        MissingError: there is no such source, or no kernel in it.
        ConfigError: it has no phases, or not this one.
        StageError: it cannot be read, or is something else.
    """
    totals = _totals(source, phase)
    ranked = sorted(totals.kernels, key=lambda kernel: (-kernel.total_ns, kernel.name))
    return TopKernels(
        source=totals.source,
        spelling=totals.spelling,
        kernels=tuple(_entry(kernel, totals.total_ns) for kernel in ranked[:limit]),
        kernels_left_out=len(ranked[limit:]) + totals.not_listed,
    )


def _entry(kernel: KernelTotal, total_ns: int | None) -> TopKernel:
    return TopKernel(
        name=kernel.name,
        kernel_name=exact_pattern(kernel.name),
        launches=kernel.launches,
        total_ms=kernel.total_ns / 1e6,
        share=round(kernel.total_ns / total_ns, 6) if total_ns else None,
        mean_us=round(kernel.total_ns / kernel.launches / 1e3, 3),
        # The middle one: not a warm-up, and there even where the profiled command launches somewhat fewer.
        launch_skip=kernel.launches // 2,
    )


def _totals(source: Path, phase: str | None) -> Totals:
    if source.is_dir():
        return _of_run(source, phase)
    try:
        with open_file(source) as file:
            start = file.read(len(SQLITE_MAGIC))
    except FileNotFoundError as error:
        raise MissingError(f"{source}: no such file or directory", _EXPECTED) from error
    except OSError as error:
        raise MissingError(f"{source} cannot be read: {error.strerror}", _EXPECTED) from error
    if start == SQLITE_MAGIC:
        with open_export(source) as connection:
            tables = table_names(connection)
        if {"kernels", "operators"} <= tables:
            return _of_profile(source, phase)
    if looks_like_trace(unpacked_start(source, LOOKED_AT_BYTES)):
        return _of_trace(source, phase)
    if phase is not None:
        raise ConfigError(
            f"--phase {phase}: {source} has no phases", "name a run directory with a profile: `llmperf torch` makes one"
        )
    return _of_exports([source]) if start == SQLITE_MAGIC else _of_table(source)


def _of_run(run: Path, phase: str | None) -> Totals:
    """A run's nsys capture, else its torch profile; phases are in the latter only."""
    if not (run / MANIFEST).is_file():
        raise MissingError(f"{run} holds no run: there is no {MANIFEST}", _EXPECTED)
    captured = stage_dir(run, stage_leaving(NsysCapture))
    exports, facts = sorted(captured.glob("*.sqlite")), captured / FACTS
    profile = headline_dir(stage_dir(run, stage_leaving(ProfileTables))) / TABLES
    if phase is None and exports:
        return _of_exports(exports)
    if phase is None and facts.is_file():
        return _of_facts(facts)
    if profile.is_file():
        return _of_profile(profile, phase)
    if phase is not None:
        raise MissingError(f"{profile} is not there, which phases are in", "leave out --phase")
    raise MissingError(
        f"{run} has no kernels: neither nsys nor the torch profiler left any", f"run with --nsys, or {_EXPECTED}"
    )


def _of_exports(paths: Sequence[Path]) -> Totals:
    from llm_perf_opt.analysis.timeline.kernel_times import kernel_runs, kernel_times
    from llm_perf_opt.formats.nsys_events import read_kernels

    rows = kernel_times([kernel_runs(read_kernels(path)) for path in paths])
    shown = ", ".join(map(str, paths))
    if not rows:
        raise _none(shown, "nothing was captured, or CUDA was not traced")
    return _of_rows(shown, rows)


def _of_rows(source: str, rows: Sequence[KernelTime]) -> Totals:
    kernels = tuple(KernelTotal(row.name, row.instances, row.total_ns) for row in rows)
    return Totals(source, kernels, sum(row.total_ns for row in rows))


def _of_facts(path: Path) -> Totals:
    try:
        capture = NsysCapture.model_validate_json(read_file(path))
    except (OSError, ValidationError) as error:
        raise StageError(f"{path} cannot be read: {error}", "restore the file, or run again") from error
    if not capture.kernels:
        why = capture.failure.message if capture.failure is not None else "nsys recorded none"
        raise _none(str(path), why)
    kernels = tuple(KernelTotal(row.name, row.instances, row.total_ns) for row in capture.kernels)
    total: int | None = sum(report.facts.kernel_ns for report in capture.reports)
    if not capture.reports:  # imported as a table
        total = None if capture.kernels_left_out else sum(row.total_ns for row in capture.kernels)
    return Totals(str(path), kernels, total, capture.kernels_left_out)


def _of_profile(path: Path, phase: str | None) -> Totals:
    try:
        rows = ProfileTables.read(path).kernels
    except sqlite3.Error as error:
        raise StageError(f"{path} cannot be read: {error}", "restore the file, or run again") from error
    rows = [row for row in rows if not row.name.startswith(_NOT_KERNELS)]
    return _of_rows_by_phase(path, phase, rows, "the profiled sample ran without a GPU")


def _of_rows_by_phase(path: Path, phase: str | None, rows: Sequence[KernelRow], why_none: str) -> Totals:
    if not rows:
        raise _none(str(path), why_none)
    phases = sorted({row.phase for row in rows})
    if phase is not None and phase not in phases:
        raise ConfigError(f"--phase {phase}: {path} has no kernels in it", f"one of {', '.join(phases)}")
    sums: dict[str, tuple[int, int]] = {}
    for row in rows:
        if phase in (None, row.phase):
            launches, total = sums.get(row.name, (0, 0))
            sums[row.name] = launches + row.calls, total + row.total_ns
    kernels = tuple(KernelTotal(name, launches, total) for name, (launches, total) in sums.items())
    shown = str(path) if phase is None else f"{path}, phase {phase}"
    return Totals(shown, kernels, sum(kernel.total_ns for kernel in kernels), spelling="torch")


def _of_trace(path: Path, phase: str | None) -> Totals:
    from llm_perf_opt.captures.timeline import analyse
    from llm_perf_opt.formats.torch_events import read_events

    return _of_rows_by_phase(path, phase, analyse(read_events(path), path.name).kernels(), "the trace holds none")


def _of_table(path: Path) -> Totals:
    try:
        with io.TextIOWrapper(open_file(path), encoding="utf-8-sig", newline="") as lines:
            rows = read_summary(lines)
    except UnicodeDecodeError as error:
        raise StageError(f"{path} is neither SQLite nor UTF-8 text", _EXPECTED) from error
    except StageError as error:
        raise StageError(f"{path}: {error.message}", _EXPECTED) from error
    if not rows:
        raise _none(str(path), "its table is empty")
    return _of_rows(str(path), rows)


def _none(source: str, why: str) -> MissingError:
    return MissingError(f"{source} has no kernels: {why}", "capture on a GPU: llmperf nsys, or llmperf torch")
