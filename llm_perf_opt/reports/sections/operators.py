"""Operators and kernels of the profiled sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from llm_perf_opt.analysis.kernel_names import category, short_name
from llm_perf_opt.artifacts.layout import OPERATORS, REPORT, TABLES
from llm_perf_opt.records.tables import KernelRow, OperatorRow, ProfileTables
from llm_perf_opt.records.workload import Profile
from llm_perf_opt.registry import stage_leaving
from llm_perf_opt.reports.charts.data_table import Column, DataTable
from llm_perf_opt.reports.document import Block, Document, Items, Paragraph, Section, Table
from llm_perf_opt.reports.facts import RunFacts
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.sections.figures import metric_blocks
from llm_perf_opt.reports.units import percent, significant


def section(facts: RunFacts) -> Section | None:
    profile, tables = facts.first(Profile), facts.first(ProfileTables)
    if profile is None or tables is None:
        return None
    intro = (
        f"{_what(profile)}; the profiler slows the host down, so times here are for comparing "
        "operators with each other. Self time leaves out what an operator called; that of a range is host work outside "
        "operators."
    )
    blocks: list[Block] = [Paragraph(intro), operator_data(tables.operators)]
    blocks += [Items(profile.notes)] if profile.notes else []
    none = Paragraph("No device kernels were recorded.")
    blocks.append(kernel_data(tables.kernels) if tables.kernels else none)
    return Section("Operators and kernels", tuple(blocks))


def pages(facts: RunFacts) -> Iterator[tuple[PurePosixPath, Document]]:
    """Every operator and kernel; and the figures of the stage with the first of them."""
    profiler = stage_leaving(Profile)
    for stage in dict.fromkeys([*(found.stage for found, _ in facts.all(Profile)), profiler]):
        profile, measured = facts.of_stage(stage, Profile), facts.measured.get(stage)
        sections: list[Section] = []
        if measured is not None:  # its profiled sample may have failed
            sections.append(Section("Figures", tuple(metric_blocks(stage, measured.metrics))))
        tables = facts.of_stage(stage, ProfileTables)
        if profile is not None and tables is not None:
            what = "the recorded trace" if profile.sample is None else f"one profiled sample{_covered(profile)}"
            intro = Paragraph(f"Sums over {what}; self time leaves out what an operator called.")
            blocks: list[Block] = [intro, operator_table(tables.operators)]
            blocks += [kernel_table(tables.kernels)] if tables.kernels else []
            everything = Document("Operators", (Section("All operators", tuple(blocks)),))
            yield PurePosixPath(stage, OPERATORS), everything
            sections.append(Section("Top operators", (intro, operator_table(tables.operators, 20))))
        if sections:
            yield PurePosixPath(stage, REPORT), Document("PyTorch profiler", tuple(sections))


def _what(profile: Profile) -> str:
    recorded = f"{', '.join(profile.activities)}; {profile.events:,} events"
    if profile.wall_ms is None:
        return f"A trace recorded elsewhere ({recorded})"
    return f"One sample under the profiler{_covered(profile)} ({recorded}) took {significant(profile.wall_ms)} ms"


def _covered(profile: Profile) -> str:
    """Which part of the sample was profiled."""
    if profile.decode_steps is None:
        return ""
    steps = f"{profile.decode_steps:,} decode step{'' if profile.decode_steps == 1 else 's'}"
    if profile.whole:
        return f", prefill and all of its {steps},"
    return f", prefill and only the first {steps} (pipeline.torch_profiler.steps),"


def operator_data(rows: Sequence[OperatorRow]) -> DataTable:
    """All operators, by falling device time, then self time on the host; the two are never added."""
    host, device = sum(row.self_cpu_ns for row in rows) or 1, sum(row.device_ns for row in rows)
    shaped = any(row.input_shapes for row in rows)
    cells = [
        (
            row.phase,
            row.name,
            *((row.input_shapes,) if shaped else ()),
            row.name.partition("::")[0] if "::" in row.name else "range or call",
            row.calls,
            *((row.device_ns / 1e6, row.device_ns / device) if device else ()),
            row.self_cpu_ns / 1e6,
            row.self_cpu_ns / host,
            row.total_cpu_ns / 1e6,
        )
        for row in rows
    ]
    columns = [Column("phase", "choice"), Column("operator"), *([Column("input shapes")] if shaped else [])]
    columns += [Column("category", "choice"), Column("calls", "count")]
    first = len(columns)
    columns += [Column("device ms", "number"), Column("device share", "share")] if device else []
    columns += [Column("self host ms", "number"), Column("host share", "share")]
    columns.append(Column("total host ms", "number"))
    return DataTable(
        title="Operators",
        columns=tuple(columns),
        rows=cells,
        sorted_by=first,
        elsewhere=f"{OPERATORS} and {TABLES} of the stage",
    )


def kernel_data(rows: Sequence[KernelRow]) -> DataTable:
    """All kernels, by falling total time."""
    total = sum(row.total_ns for row in rows) or 1
    cells = [
        (
            row.phase,
            short_name(row.name),
            category(row.name),
            row.calls,
            row.total_ns / 1e6,
            row.total_ns / row.calls / 1e3 if row.calls else None,
            row.max_ns / 1e3,
            row.total_ns / total,
            row.name,
        )
        for row in rows
    ]
    columns = (
        Column("phase", "choice"),
        Column("kernel"),
        Column("category", "choice"),
        Column("calls", "count"),
        Column("total ms", "number"),
        Column("mean µs", "number"),
        Column("max µs", "number"),
        Column("share", "share"),
        Column("full name", "line"),
    )
    return DataTable(title="Kernels", columns=columns, rows=cells, sorted_by=4, elsewhere=f"{TABLES} of the stage")


def operator_table(rows: Sequence[OperatorRow], limit: int | None = None) -> Table:
    """Operators by falling device time, then self time on the host; the two are never added."""
    host = sum(row.self_cpu_ns for row in rows) or 1
    device = sum(row.device_ns for row in rows)
    shaped = any(row.input_shapes for row in rows)
    cells = tuple(
        (
            row.phase,
            row.name,
            *((row.input_shapes,) if shaped else ()),
            f"{row.calls:,}",
            significant(row.self_cpu_ns / 1e6),
            significant(row.total_cpu_ns / 1e6),
            percent(row.self_cpu_ns / host),
            significant(row.device_ns / 1e6),
            percent(row.device_ns / device) if device else "—",
        )
        for row in rows[:limit]
    )
    shapes = ("input shapes",) if shaped else ()
    columns = (
        "phase",
        "operator",
        *shapes,
        "calls",
        "self host ms",
        "total host ms",
        "host share",
        "device ms",
        "device share",
    )
    return Table(columns, cells, numeric=frozenset(range(2 + len(shapes), len(columns))))


def kernel_table(rows: Sequence[KernelRow], limit: int | None = None) -> Table:
    """Kernels by falling total time."""
    total = sum(row.total_ns for row in rows) or 1
    cells = tuple(
        (
            row.phase,
            row.name,
            f"{row.calls:,}",
            significant(row.total_ns / 1e6),
            significant(row.total_ns / row.calls / 1e3),
            significant(row.max_ns / 1e3),
            percent(row.total_ns / total),
        )
        for row in rows[:limit]
    )
    columns = ("phase", "kernel", "calls", "total ms", "mean µs", "max µs", "share")
    return Table(columns, cells, numeric=frozenset(range(2, len(columns))))


SECTION = ReportSection(45, section, pages)
