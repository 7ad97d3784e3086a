"""Where the GPU's time went in an nsys capture: busy and idle, by range, and the kernels of each phase."""

from __future__ import annotations

from collections.abc import Sequence

from llm_perf_opt.artifacts.layout import FACTS
from llm_perf_opt.records.timeline import DeviceBusy, PhaseKernel, RangeWork, Timeline
from llm_perf_opt.records.tools import NsysCapture
from llm_perf_opt.reports.document import Block, Items, Paragraph, Section, Table
from llm_perf_opt.reports.facts import RunFacts
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.units import percent, significant

TOP = 15
RANGES = (
    "range",
    "occurrences",
    "kernels",
    "kernel ms",
    "of it in no inner range",
    "share",
    "GPU span ms",
    "GPU idle ms",
    "idle",
)
READING = (
    "A kernel belongs to the ranges that were open where it was launched. GPU span is from the start of a range's "
    "first kernel to the end of its last, idle the part of it in which none of them ran, over all streams."
)


def section(facts: RunFacts) -> Section | None:
    blocks: list[Block] = []
    for _, capture in facts.all(NsysCapture):
        for report in capture.reports:
            if report.timeline is not None and report.timeline.devices:
                blocks += timeline_blocks(report.name, report.timeline)
    return Section("GPU time line", (Paragraph(READING), *blocks)) if blocks else None


def timeline_blocks(name: str, timeline: Timeline) -> list[Block]:
    """One report's devices, ranges and kernels by phase."""
    blocks: list[Block] = [Items(tuple(f"{name}: {_sentence(device)}" for device in timeline.devices))]
    if timeline.ranges:
        blocks.append(_ranges(timeline))
    blocks += [Items(lines)] if (lines := _remarks(timeline)) else []
    if any(row.phase != "outside" for row in timeline.phase_kernels):
        blocks.append(_kernels(timeline.phase_kernels[:TOP], timeline.kernel_ns))
    return blocks


def _sentence(device: DeviceBusy) -> str:
    share = percent(device.busy_ns / device.span_ns if device.span_ns else 1.0)
    copies = f", {_ms(device.copy_ns)} ms of copies and sets among it" if device.copy_ns else ""
    return (
        f"GPU {device.device} was busy for {_ms(device.busy_ns)} of {_ms(device.span_ns)} ms ({share}){copies}; "
        f"idle for {_ms(device.idle_ns)} ms."
    )


def _ranges(timeline: Timeline) -> Table:
    rows = [_range(row, timeline.kernel_ns) for row in timeline.ranges[:TOP]]
    return Table(RANGES, tuple(rows), numeric=frozenset(range(1, len(RANGES))))


def _range(row: RangeWork, total_ns: int) -> tuple[str, ...]:
    return (
        row.name if row.domain is None else f"{row.domain}: {row.name}",
        f"{row.occurrences:,}",
        f"{row.kernels:,}",
        _ms(row.kernel_ns),
        _ms(row.own_kernel_ns),
        percent(row.kernel_ns / total_ns) if total_ns else "—",
        _ms(row.span_ns),
        _ms(row.idle_ns),
        percent(row.idle_ns / row.span_ns) if row.span_ns else "—",
    )


def _remarks(timeline: Timeline) -> tuple[str, ...]:
    lines = []
    hidden = len(timeline.ranges[TOP:]) + timeline.ranges_left_out
    if hidden:
        lines.append(f"{hidden:,} more ranges have kernels; nsys/{FACTS} has the first {len(timeline.ranges):,}.")
    if timeline.unattributed_kernels:
        late = timeline.without_launch
        before = f", {late:,} of them before the capture began" if late else ""
        lines.append(
            f"Unattributed: {timeline.unattributed_kernels:,} kernels of {_ms(timeline.unattributed_ns)} ms were "
            f"launched in no range{before}."
        )
    return tuple(lines)


def _kernels(rows: Sequence[PhaseKernel], total_ns: int) -> Table:
    cells = tuple(
        (
            row.phase,
            row.name,
            f"{row.kernels:,}",
            _ms(row.total_ns),
            significant(row.total_ns / row.kernels / 1e3),
            significant(row.max_ns / 1e3),
            percent(row.total_ns / total_ns),
        )
        for row in rows
    )
    columns = ("phase", "kernel", "launches", "total ms", "mean µs", "max µs", "share")
    return Table(columns, cells, numeric=frozenset(range(2, len(columns))))


def _ms(value_ns: int) -> str:
    return significant(value_ns / 1e6)


SECTION = ReportSection(54, section)
