"""What nsys and ncu captured, and the kernels in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from llm_perf_opt.analysis.kernel_names import category, short_name
from llm_perf_opt.analysis.kernels.analyze import NOT_FOR_TIMES
from llm_perf_opt.analysis.kernels.classify import by_dram, explain
from llm_perf_opt.analysis.kernels.figures import DRAM, MEMORY, SM
from llm_perf_opt.artifacts.layout import KERNEL_SUMMARY, KERNELS, RAW, REPORT
from llm_perf_opt.records.kernels import Value
from llm_perf_opt.records.tools import (
    KernelTime,
    NcuCapture,
    NcuMetric,
    NcuRegion,
    NcuResult,
    NsysCapture,
    NsysReport,
    RangeCheck,
)
from llm_perf_opt.reports.charts.data_table import Column, DataTable
from llm_perf_opt.reports.document import Block, Document, Items, Paragraph, Section, Table
from llm_perf_opt.reports.facts import RunFacts
from llm_perf_opt.reports.kernels import CLASSES, NCU_COLUMN, RULES, SM_DRAM_COLUMN, rule_blocks
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.units import percent, significant

TOP = 10
NOT_CLEANED = (
    "a report holds the environments and command lines of processes as nsys recorded them, and nothing takes them out: "
    "do not pass it on. The export beside it is without them."
)
"""Of an `.nsys-rep`."""


def section(facts: RunFacts) -> Section | None:
    blocks: list[Block] = []
    for _, capture in facts.all(NsysCapture):
        blocks += nsys_blocks(capture, TOP)
    for _, profiled in facts.all(NcuCapture):
        blocks += ncu_blocks(profiled, TOP)
    for _, region in facts.all(NcuRegion):
        blocks += region_blocks(region, TOP)
    return Section("Nsight captures", tuple(blocks)) if blocks else None


def pages(facts: RunFacts) -> Iterator[tuple[PurePosixPath, Document]]:
    """All kernels of a capture, and what was profiled in each region."""
    for found, capture in facts.all(NsysCapture):
        if capture.kernels:
            section = Section("Kernels", tuple(nsys_blocks(capture)))
            yield PurePosixPath(found.stage, KERNELS), Document("Nsight Systems", (section,))
    for found, region in facts.all(NcuRegion):
        section = Section(region.written, tuple(region_blocks(region)))
        file = found.file.with_name(REPORT).relative_to(facts.path)
        yield PurePosixPath(file.as_posix()), Document("Nsight Compute", (section,))


def nsys_blocks(capture: NsysCapture, limit: int | None = None) -> list[Block]:
    """The reports of an nsys capture and its kernels."""
    if capture.tool is None:
        blocks: list[Block] = [Paragraph("Captured elsewhere with nsys; what opened the capture is not known.")]
    else:
        opened = "from the start" if capture.trigger is None else f"at {capture.trigger}"
        blocks = [Paragraph(f"nsys {capture.tool.version} recorded {opened}.")]
    if capture.failure is not None:
        blocks.append(Paragraph(f"The capture failed: {capture.failure.message}"))
    if capture.not_cleaned:
        blocks.append(Paragraph(f"{' and '.join(capture.not_cleaned)}: {NOT_CLEANED}"))
    if capture.ranges is not None:
        blocks += _ranges(capture, capture.ranges)
    if capture.reports:
        rows = tuple(_report_row(report) for report in capture.reports)
        blocks.append(
            Table(("report", "length ms", "kernels", "kernel ms", "processes"), rows, numeric=frozenset({1, 2, 3}))
        )
    blocks += [Items(tuple(items)) for items in [_diagnostics(capture)] if items]
    if capture.kernels:
        if limit:
            blocks.append(nsys_kernel_data(capture))
        else:
            blocks.append(nsys_kernel_table(capture.kernels, capture.kernels))
            if capture.kernels_left_out:
                blocks.append(Paragraph(f"{capture.kernels_left_out:,} more kernels are in nsys/{KERNEL_SUMMARY}."))
    elif capture.reports:
        blocks.append(Paragraph("No device kernels were recorded."))
    return blocks


SENDERS = {
    "nvtx": "the nvtx package",
    "nvtx-direct": "the nvtx package, without its question whether the tool wants any",
    "torch": "torch.cuda.nvtx, as plain strings",
}


def _ranges(capture: NsysCapture, check: RangeCheck) -> list[Block]:
    if capture.range_sender is None:
        return [Paragraph(f"The workload sent no NVTX ranges: {capture.range_sender_reason}.")]
    sent = "an unknown number of" if check.sent is None else f"{check.sent:,}"
    words = f"The workload sent {sent} NVTX ranges through {SENDERS[capture.range_sender]}"
    held = "no report could be read" if check.held is None else f"the reports hold {check.held:,}"
    fits = ", none missing that should be there" if check.held is not None and not check.differences else ""
    left = check.differences_left_out
    more = (f"{left:,} more ranges differ.",) if left else ()
    items = tuple(f"Range {line}." for line in check.differences) + more
    return [Paragraph(f"{words}; {held}{fits}."), *([Items(items)] if items else [])]


def _report_row(report: NsysReport) -> tuple[str, ...]:
    facts = report.facts
    length = None if facts.duration_ns is None else facts.duration_ns / 1e6
    processes = ", ".join(f"{item.name or 'unnamed'} {item.pid}: {item.kernels:,} kernels" for item in facts.processes)
    return (report.name, significant(length), f"{facts.kernels:,}", significant(facts.kernel_ns / 1e6), processes)


def _diagnostics(capture: NsysCapture) -> list[str]:
    found = (line for report in capture.reports for line in report.facts.diagnostics)
    return [f"nsys warned: {line}" for line in dict.fromkeys(found)]


def nsys_kernel_data(capture: NsysCapture) -> DataTable:
    """All kernels of a capture, by falling total time."""
    total = sum(row.total_ns for row in capture.kernels) or 1
    cells = [
        (
            short_name(row.name),
            category(row.name),
            row.instances,
            row.total_ns / 1e6,
            row.mean_ns / 1e3,
            row.median_ns / 1e3,
            row.max_ns / 1e3,
            row.total_ns / total,
            row.name,
        )
        for row in capture.kernels
    ]
    columns = (
        Column("kernel"),
        Column("category", "choice"),
        Column("launches", "count"),
        *(Column(name, "number") for name in ("total ms", "mean µs", "median µs", "max µs")),
        Column("share", "share"),
        Column("full name", "line"),
    )
    return DataTable(
        title="Kernels of the capture",
        columns=columns,
        rows=cells,
        sorted_by=3,
        elsewhere=f"nsys/{KERNEL_SUMMARY}",
        left_out=capture.kernels_left_out,
    )


def nsys_kernel_table(rows: Sequence[KernelTime], everything: Sequence[KernelTime]) -> Table:
    """Kernels by falling total time; shares are of the kernels in `everything`."""
    total = sum(row.total_ns for row in everything) or 1
    cells = tuple(
        (
            short_name(row.name),
            category(row.name),
            f"{row.instances:,}",
            significant(row.total_ns / 1e6),
            significant(row.mean_ns / 1e3),
            significant(row.median_ns / 1e3),
            significant(row.max_ns / 1e3),
            percent(row.total_ns / total),
            row.name,
        )
        for row in rows
    )
    columns = ("kernel", "category", "launches", "total ms", "mean µs", "median µs", "max µs", "share", "full name")
    return Table(columns, cells, numeric=frozenset(range(2, 8)), names=frozenset({0, 8}))


def ncu_blocks(capture: NcuCapture, limit: int | None = None) -> list[Block]:
    """What one run of ncu profiled."""
    words = _how(capture)
    if capture.passes:
        few, many = min(capture.passes), max(capture.passes)
        words += f", {few} passes each" if few == many else f", {few} to {many} passes each"
    if capture.replay_reason is not None:
        words += f" (replay_mode: auto; {capture.replay_reason})"
    blocks: list[Block] = [Paragraph(f"{words}. {NOT_FOR_TIMES}")]
    if capture.failure is not None:
        blocks.append(Paragraph(f"It failed: {capture.failure.message}"))
    dropped = {"metrics": capture.dropped_metrics, "sections": capture.dropped_sections}
    remarks = [
        f"Dropped, since ncu does not know these {kind}: {', '.join(names)}."
        for kind, names in dropped.items()
        if names
    ]
    if capture.facts is not None and capture.facts.empty_metrics:
        remarks.append(f"{len(capture.facts.empty_metrics):,} metrics have no value in any result.")
    remarks += [f"{remark}." for remark in capture.facts.remarks] if capture.facts is not None else []
    blocks += [Items(tuple(remarks))] if remarks else []
    if capture.facts is not None and capture.results:
        if len(capture.facts.processes) > 1:
            names = tuple(f"{item.name or 'unnamed'} {item.pid}: {item.results:,}" for item in capture.facts.processes)
            blocks.append(Paragraph(f"Results by process: {', '.join(names)}."))
        left = capture.facts.results - len(capture.results[:limit])
        table = result_table(capture.results[:limit], capture.facts.metrics)
        blocks += [table, *(map(Paragraph, RULES) if NCU_COLUMN in table.columns else [])]
        blocks += [Paragraph(f"{left:,} more results are in ncu/{RAW}.")] if left else []
        said = [(result.id, rule) for result in capture.results[:limit] for rule in result.rules]
        blocks += rule_blocks(said, messages=True) if said else []
    return blocks


def _how(capture: NcuCapture) -> str:
    if capture.tool is None:
        return "Captured elsewhere with ncu; which launches were asked for, and how they were replayed, is not known"
    what = "one decode step" if capture.steady_step else ", ".join(capture.filters) or "all launches"
    return f"ncu {capture.tool.version} profiled {what} with {capture.replay_mode} replay"


def region_blocks(region: NcuRegion, limit: int | None = None) -> list[Block]:
    """What ncu profiled within one of several NVTX expressions."""
    intro = f"Within {region.written} (sent as {region.sent})"
    if region.facts is None or not region.results:
        return [Paragraph(f"{intro}: {region.reason}.")]
    return [
        Paragraph(f"{intro}: {region.facts.results:,} results of {len(region.facts.kernels):,} names."),
        result_table(region.results[:limit], region.facts.metrics),
    ]


def result_table(results: Sequence[NcuResult], metrics: Sequence[NcuMetric]) -> Table:
    """One row a result, in the order of their launch; its class, and a column for each metric that was kept."""
    units = {metric.name: metric.unit for metric in metrics}
    names = list(dict.fromkeys(name for result in results for name in result.values))
    classified = SM in names and bool({MEMORY, *DRAM} & set(names))
    cells = tuple(
        (
            str(result.id),
            short_name(result.name),
            category(result.name),
            *(_classes(result) if classified else ()),
            *(significant(result.values.get(name)) for name in names),
            result.name,
        )
        for result in results
    )
    head = ("ID", "kernel", "category", *((NCU_COLUMN, SM_DRAM_COLUMN) if classified else ()))
    columns = (*head, *(f"{name}, {units[name]}" if units.get(name) else name for name in names), "full name")
    last = len(columns) - 1
    return Table(columns, cells, numeric=frozenset({0, *range(len(head), last)}), names=frozenset({1, last}))


def _classes(result: NcuResult) -> tuple[str, str]:
    """By both rules, from the percentages that were kept of it."""
    dram = next((result.values[name] for name in DRAM if result.values.get(name) is not None), None)
    figures = {
        "sm_pct": Value(value=result.values.get(SM)),
        "memory_pct": Value(value=result.values.get(MEMORY)),
        "dram_pct": Value(value=dram),
    }
    return CLASSES[explain(figures, result.rules)[0]], CLASSES[by_dram(figures)[0]]


SECTION = ReportSection(47, section, pages)
