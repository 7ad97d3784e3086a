"""The kernels that take the time, from whatever was captured: a run, an nsys export, a table of `nsys stats`."""

from __future__ import annotations

import io
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from pydantic import ValidationError

from llm_perf_opt.analysis.kernel_names import category, identity, short_name
from llm_perf_opt.artifacts.layout import FACTS, MANIFEST, TABLES, headline_dir, record_dirs, stage_dir
from llm_perf_opt.captures.kernel_tables import Capture, files_of_run, tables_of_run
from llm_perf_opt.errors import ConfigError, MissingError, StageError
from llm_perf_opt.formats.json_chunks import looks_like_trace, unpacked_start
from llm_perf_opt.formats.nsys_export import SQLITE_MAGIC, open_export, table_names
from llm_perf_opt.formats.nsys_stats import read_summary
from llm_perf_opt.opening import open_file, read_file
from llm_perf_opt.records.kernels import EVERYTHING, Choice, KernelTotal, TopKernel, TopKernels, WholeGraphs
from llm_perf_opt.records.tables import ProfileTables
from llm_perf_opt.records.tools import KernelTime, NsysCapture
from llm_perf_opt.registry import stage_leaving

if TYPE_CHECKING:
    from llm_perf_opt.analysis.timeline.kernel_totals import KernelRows

Spelling: TypeAlias = Literal["nsys", "torch"]
LOOKED_AT_BYTES = 1 << 20
_EXPECTED = (
    "name a run directory, an SQLite export of nsys, a trace of torch.profiler, or a CSV of nsys stats --report "
    "cuda_gpu_kern_sum"
)
_METACHARACTERS = re.compile(r"[.^$*+?()\[\]{}|\\]")

# Runs of earlier versions list what else the torch profiler records on the device; ncu profiles kernels only.
_NOT_KERNELS = ("Memcpy ", "Memset ")

_NOTHING_CAPTURED = {"nsys": "nothing was captured, or CUDA was not traced", "torch": "the trace holds none"}


@dataclass(frozen=True, slots=True)
class Totals:
    """Every kernel of one source."""

    source: str
    kernels: tuple[KernelTotal, ...]
    total_ns: int | None
    """Of all kernels, those that the source does not list included; None where it does not say."""
    not_listed: int = 0
    spelling: Spelling = "nsys"
    graphs: KernelTotal | None = None
    """All CUDA graphs that were traced whole; `total_ns` has their time."""


def exact_pattern(name: str) -> str:
    """ncu's `--kernel-name` that matches this name and no longer one; only what has a meaning in a regex is escaped."""
    return f"regex:^{_METACHARACTERS.sub(lambda found: chr(92) + found.group(), name)}$"


def top_kernels(source: Path, limit: int, choice: Choice = EVERYTHING) -> TopKernels:
    """The `limit` kernels with the longest total time.

    Args:
        source: run directory, SQLite file, trace or CSV.
        choice: which launches are asked for.

    Raises:
        MissingError: there is no such source, or no kernel in it.
        ConfigError: it has no such device, phase, range or rank.
        StageError: it cannot be read, or is something else.
    """
    totals = _totals(source, choice)
    ranked = sorted(totals.kernels, key=lambda kernel: (-kernel.total_ns, kernel.name))
    return TopKernels(
        source=totals.source,
        spelling=totals.spelling,
        kernels=tuple(_entry(kernel, totals.total_ns) for kernel in ranked[:limit]),
        kernels_left_out=len(ranked[limit:]) + totals.not_listed,
        whole_graphs=_graphs(totals.graphs, totals.total_ns),
    )


def _entry(kernel: KernelTotal, total_ns: int | None) -> TopKernel:
    return TopKernel(
        name=kernel.name,
        kernel_name=exact_pattern(kernel.name),
        launches=kernel.launches,
        total_ms=kernel.total_ns / 1e6,
        share=round(kernel.total_ns / total_ns, 6) if total_ns else None,
        mean_us=round(kernel.total_ns / kernel.launches / 1e3, 3),
        max_us=kernel.max_ns / 1e3,
        short_name=short_name(kernel.name),
        category=category(kernel.name),
        identity=identity(kernel.name),
        # The middle one: not a warm-up, and there even where the profiled command launches somewhat fewer.
        launch_skip=kernel.launches // 2,
    )


def _graphs(graphs: KernelTotal | None, total_ns: int | None) -> WholeGraphs | None:
    if graphs is None or not total_ns:
        return None
    return WholeGraphs(
        launches=graphs.launches,
        total_ms=graphs.total_ns / 1e6,
        share=round(graphs.total_ns / total_ns, 6),
        mean_us=round(graphs.total_ns / graphs.launches / 1e3, 3),
        max_us=graphs.max_ns / 1e3,
    )


def _totals(source: Path, choice: Choice) -> Totals:
    if source.is_dir():
        return _of_run(source, choice)
    try:
        with open_file(source) as file:
            start = file.read(len(SQLITE_MAGIC))
    except FileNotFoundError as error:
        raise MissingError(f"{source}: no such file or directory", _EXPECTED) from error
    except OSError as error:
        raise MissingError(f"{source} cannot be read: {error.strerror}", _EXPECTED) from error
    if choice.rank is not None:
        raise ConfigError(f"--rank {choice.rank}: {source} is one file", "name a run of several ranks: llmperf import")
    if start == SQLITE_MAGIC:
        with open_export(source) as connection:
            tables = table_names(connection)
        if {"kernels", "operators"} <= tables:
            return _of_profile(source, choice)
        return _of_exports([source], choice)
    if looks_like_trace(unpacked_start(source, LOOKED_AT_BYTES)):
        return _of_files([Capture(source)], choice, "torch")
    _refuse_choice(source, choice)
    return _of_table(source)


def _refuse_choice(source: Path, choice: Choice, *, phases: bool = False) -> None:
    """Raise ConfigError where a table by name is asked for what it does not say."""
    asked = str(replace(choice, phase=None) if phases else choice).removeprefix(", ")
    if asked:
        raise ConfigError(
            f"{source} does not say the kernels of {asked}",
            "name a run directory with a time line, an export of nsys or a trace",
        )


def _of_run(run: Path, choice: Choice) -> Totals:
    """A run's nsys capture, else its torch profile: the first that has what is asked for."""
    if not (run / MANIFEST).is_file():
        raise MissingError(f"{run} holds no run: there is no {MANIFEST}", _EXPECTED)
    captured, profiled = (stage_dir(run, stage_leaving(record)) for record in (NsysCapture, ProfileTables))
    stages: tuple[tuple[Path, Spelling], ...] = ((captured, "nsys"), (profiled, "torch"))
    lines = [
        (folder, spelling)
        for stage, spelling in stages
        for folder in [folder for folder in record_dirs(stage) if tables_of_run(folder, EVERYTHING)][:1]
    ]
    for number, (folder, spelling) in enumerate(lines, 1):
        try:
            return _of_time_line(folder, choice, spelling)
        except (ConfigError, MissingError):
            # The other capture may have the kernels, the phase or the range.
            if number == len(lines):
                raise
    exports, facts = sorted(captured.glob("*.sqlite")), captured / FACTS
    profile = headline_dir(profiled) / TABLES
    if choice.phase is None and exports:
        return _of_exports(exports, choice)
    if choice.phase is None and facts.is_file():
        _refuse_choice(facts, choice)
        return _of_facts(facts)
    if profile.is_file():
        return _of_profile(profile, choice)
    if choice.phase is not None:
        raise MissingError(f"{profile} is not there, which phases are in", "leave out --phase")
    raise MissingError(
        f"{run} has no kernels: neither nsys nor the torch profiler left any", f"run with --nsys, or {_EXPECTED}"
    )


def _of_time_line(folder: Path, choice: Choice, spelling: Spelling) -> Totals:
    if choice.range is None:
        from llm_perf_opt.captures.kernel_choice import chosen_of_tables

        captures = tables_of_run(folder, choice)
        return _of_launches(str(folder), choice, chosen_of_tables(captures, choice), spelling)
    files = files_of_run(folder, choice)
    if not files:
        raise ConfigError(
            f"--range {choice.range}: {folder} keeps no export and no trace, where ranges are looked up",
            "name the file that was imported, or import it again with --copy",
        )
    return _of_files(files, choice, spelling)


def _of_exports(paths: Sequence[Path], choice: Choice) -> Totals:
    if choice:
        return _of_files([Capture(path) for path in paths], choice, "nsys")
    from llm_perf_opt.analysis.timeline.kernel_times import kernel_rows
    from llm_perf_opt.formats.nsys_events import read_kernels

    rows = [kernel_rows(read_kernels(path)) for path in paths]
    return _of_launches(", ".join(map(str, paths)), choice, rows, "nsys")


def _of_files(captures: Sequence[Capture], choice: Choice, spelling: Spelling) -> Totals:
    from llm_perf_opt.captures.kernel_choice import chosen_of_files

    if spelling == "nsys":
        from llm_perf_opt.formats.nsys_events import read_events
    else:
        from llm_perf_opt.formats.torch_events import read_events
    shown = ", ".join(str(capture.path) for capture in captures)
    return _of_launches(shown, choice, chosen_of_files(captures, choice, read_events), spelling)


def _of_launches(source: str, choice: Choice, rows: Sequence[KernelRows], spelling: Spelling) -> Totals:
    from llm_perf_opt.analysis.timeline.kernel_totals import kernel_totals

    kernels, graphs = kernel_totals(rows)
    if not kernels and graphs is None:
        raise _none(f"{source}{choice}", _NOTHING_CAPTURED[spelling])
    total = sum(kernel.total_ns for kernel in kernels) + (graphs.total_ns if graphs is not None else 0)
    return Totals(f"{source}{choice}", tuple(kernels), total, spelling=spelling, graphs=graphs)


def _of_rows(source: str, rows: Sequence[KernelTime]) -> Totals:
    kernels = tuple(KernelTotal(row.name, row.instances, row.total_ns, row.max_ns) for row in rows)
    return Totals(source, kernels, sum(row.total_ns for row in rows))


def _of_facts(path: Path) -> Totals:
    try:
        capture = NsysCapture.model_validate_json(read_file(path))
    except (OSError, ValidationError) as error:
        raise StageError(f"{path} cannot be read: {error}", "restore the file, or run again") from error
    if not capture.kernels:
        why = capture.failure.message if capture.failure is not None else "nsys recorded none"
        raise _none(str(path), why)
    kernels = tuple(KernelTotal(row.name, row.instances, row.total_ns, row.max_ns) for row in capture.kernels)
    total: int | None = sum(report.facts.kernel_ns for report in capture.reports)
    if not capture.reports:  # imported as a table
        total = None if capture.kernels_left_out else sum(row.total_ns for row in capture.kernels)
    return Totals(str(path), kernels, total, capture.kernels_left_out)


def _of_profile(path: Path, choice: Choice) -> Totals:
    _refuse_choice(path, choice, phases=True)
    try:
        rows = ProfileTables.read(path).kernels
    except sqlite3.Error as error:
        raise StageError(f"{path} cannot be read: {error}", "restore the file, or run again") from error
    rows = [row for row in rows if not row.name.startswith(_NOT_KERNELS)]
    if not rows:
        raise _none(str(path), "the profiled sample ran without a GPU")
    phases = sorted({row.phase for row in rows})
    if choice.phase is not None and choice.phase not in phases:
        raise ConfigError(f"--phase {choice.phase}: {path} has no kernels in it", f"one of {', '.join(phases)}")
    sums: dict[str, KernelTotal] = {}
    for row in rows:
        if choice.phase in (None, row.phase):
            had = sums.get(row.name, KernelTotal(row.name, 0, 0, 0))
            sums[row.name] = KernelTotal(
                row.name, had.launches + row.calls, had.total_ns + row.total_ns, max(had.max_ns, row.max_ns)
            )
    kernels = tuple(sums.values())
    return Totals(f"{path}{choice}", kernels, sum(kernel.total_ns for kernel in kernels), spelling="torch")


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
