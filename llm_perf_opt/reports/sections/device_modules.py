"""Kernel time of each kind of module, in CUDA graphs too, and which kernels in graphs belong to nobody."""

from __future__ import annotations

from collections.abc import Sequence

from llm_perf_opt.records.device_timeline import DeviceTimeline, GraphCounts, ModuleTime
from llm_perf_opt.reports.document import Block, Items, Paragraph, Section, Table
from llm_perf_opt.reports.facts import RunFacts
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.units import percent, significant

TOP = 20
READING = (
    "Kernels count for the innermost module around their launch; those in a CUDA graph for the one around their "
    "capture. Modules that differ by a number are one row. With inner modules, a row holds time of other rows too."
)


def section(facts: RunFacts) -> Section | None:
    found = [
        (place.stage, record)
        for place, record in facts.all(DeviceTimeline)
        if record.module_kinds or record.graphs.kernels
    ]
    blocks = [block for stage, record in found for block in module_blocks(stage, record)]
    return Section("Modules on the device", tuple(blocks)) if blocks else None


def module_blocks(stage: str, record: DeviceTimeline) -> list[Block]:
    total_ns = sum(device.kernel_ns + device.graph_ns for device in record.devices)
    blocks: list[Block] = [Paragraph(f"{READING} ({stage}, {record.source})")]
    if record.module_kinds:
        blocks.append(_table(record.module_kinds[:TOP], total_ns))
    lines = []
    if record.module_kinds:
        outside = percent(record.outside_modules_ns / total_ns) if total_ns else "—"
        lines.append(f"Launched in no module: {_ms(record.outside_modules_ns)} ms, {outside} of all kernel time.")
    if len(record.module_kinds) > TOP:
        lines.append(f"{len(record.module_kinds) - TOP:,} more kinds of modules are left out here.")
    lines += graph_lines(record.graphs)
    if record.graphs.captured_in:
        blocks.append(_captured(record.graphs, total_ns))
    return [*blocks, Items(tuple(lines))] if lines else blocks


def _table(rows: Sequence[ModuleTime], total_ns: int) -> Table:
    cells = tuple(
        (
            row.name,
            f"{row.instances:,}",
            f"{row.own_kernels:,}",
            _ms(row.own_kernel_ns),
            percent(row.own_kernel_ns / total_ns) if total_ns else "—",
            _ms(row.kernel_ns),
            _ms(row.graph_kernel_ns),
            row.longest_kernel or "—",
        )
        for row in rows
    )
    columns = (
        "modules", "number", "own kernels", "own ms", "share", "ms with inner modules", "of it in graphs",
        "longest own kernel",
    )  # fmt: skip
    return Table(columns, cells, numeric=frozenset(range(1, 7)))


def _captured(graphs: GraphCounts, total_ns: int) -> Table:
    cells = tuple(
        (row.name, f"{row.kernels:,}", _ms(row.total_ns), percent(row.total_ns / total_ns) if total_ns else "—")
        for row in graphs.captured_in[:TOP]
    )
    return Table(("captured in", "kernels in graphs", "ms", "share"), cells, numeric=frozenset(range(1, 4)))


def graph_lines(graphs: GraphCounts) -> list[str]:
    """How many kernels in graphs are known to belong to what was captured, and why the others are not."""
    if not graphs.kernels:
        return []
    lines = [f"Kernels in CUDA graphs: {graphs.kernels:,}; joined to their capture: {graphs.joined:,}."]
    for row in graphs.abstentions:
        where = f" First: {row.where}." if row.where else ""
        lines.append(f"Not joined: {row.kernels:,} kernels of {_ms(row.total_ns)} ms: {row.reason}.{where}")
    return lines


def _ms(value_ns: int) -> str:
    return significant(value_ns / 1e6)


SECTION = ReportSection(36, section)
