"""Where the time of the devices went: busy and idle with its causes, by phase, step and range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llm_perf_opt.records.device_timeline import (
    CopyTime,
    CounterMeans,
    DeviceTime,
    DeviceTimeline,
    Gap,
    Parts,
    RangeTime,
    StepGroup,
)
from llm_perf_opt.reports.charts.bars import Bar, Bars, Part, Tone
from llm_perf_opt.reports.document import Block, Items, Paragraph, Section, Table
from llm_perf_opt.reports.facts import RunFacts
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.units import percent, significant

TOP = 15
MOST_BARS = 16
"""Devices that are drawn."""
GAPS = 5
READING = (
    "Devices, phases and steps are windows of time: what a device did in them, whoever launched it. Where kernels "
    "overlap copies, compute counts first, then communication, then copies. Ranges count what was launched in them."
)
PARTS = ("wall ms", "busy", "compute ms", "exposed communication ms", "exposed copies ms", "idle ms")
CAUSES = {
    "launch_not_recorded": "the launch is not in the recording",
    "host_blocking_call": "host late, in a call that blocks",
    "host_operator": "host late, in an operator",
    "host_range": "host late, in a range",
    "host_python": "host late, in Python",
    "host_unrecorded": "host late, in nothing that was recorded",
    "launch_call": "the launch call itself",
    "launch_latency": "launch latency: the queue was empty",
    "device_turnaround": "device turnaround: the work was queued",
    "dependency": "waiting for an event",
    "no_later_work": "no later work",
}


def section(facts: RunFacts) -> Section | None:
    found = [(place.stage, record) for place, record in facts.all(DeviceTimeline) if record.devices]
    blocks = [block for stage, record in found for block in timeline_blocks(stage, record)]
    return Section("Device time line", (*blocks, Paragraph(READING))) if blocks else None


def timeline_blocks(stage: str, record: DeviceTimeline) -> list[Block]:
    """The answer first, then what it is made of."""
    blocks: list[Block] = [Paragraph(f"{record.answer} ({stage}, {record.source})"), device_bars(record)]
    blocks.append(_windows(record))
    idle = _idle(record.devices)
    blocks += [idle] if idle is not None else []
    if record.gaps:
        blocks.append(Items(tuple(_gap(gap) for gap in record.gaps[:GAPS])))
    if record.steps:
        blocks.append(_steps(record.steps))
    if record.counters:
        blocks.append(_counters(record.counters))
    if record.copies:
        blocks.append(_copies(record.copies))
    used = [row for row in record.ranges if row.kernels]
    if used:
        blocks.append(_ranges(used[:TOP], sum(device.kernel_ns + device.graph_ns for device in record.devices)))
    blocks += [Items(lines)] if (lines := tuple(remarks(record, len(used)))) else []
    return blocks


def device_words(device: DeviceTime) -> str:
    """Which GPU it is, as far as the file says."""
    number = f"GPU {device.ordinal}" if device.process is None else f"GPU {device.ordinal} of process {device.process}"
    if device.rank is not None:
        number = f"rank {device.rank}, {number}"
    name = "" if device.name is None else f" ({device.name})"
    return f"{number}{name}"


def device_bars(record: DeviceTimeline) -> Bars:
    """Each device: compute, exposed communication, exposed copies and idle, which add up; under idle its causes."""
    bars = []
    for device in record.devices[:MOST_BARS]:
        busy: tuple[tuple[str, int, Tone], ...] = (
            ("compute", device.compute_ns, "compute"),
            ("exposed communication", device.exposed_communication_ns, "communication"),
            ("exposed copies", device.exposed_copy_ns, "copy"),
            ("idle", device.idle_ns, "idle"),
        )
        parts = tuple(Part(name, ns / 1e6, tone) for name, ns, tone in busy if ns)
        bars.append(Bar(device_words(device), parts))
        at, causes = (device.wall_ns - device.idle_ns) / 1e6, []
        for cause, ns in sorted(device.idle_by_cause.items(), key=lambda item: -item[1]):
            if ns:
                causes.append(Part(CAUSES.get(cause, cause), ns / 1e6, "rest", at, "idle"))
                at += ns / 1e6
        bars += [Bar(f"idle of {device_words(device)}, by cause", tuple(causes))] if causes else []
    left = len(record.devices) - MOST_BARS
    return Bars(
        title="Time of each device",
        note="From the start of the first work of a device to the end of its last; the parts add up."
        + (f" {left:,} more devices are in the table." if left > 0 else ""),
        unit="ms",
        total=max(device.wall_ns for device in record.devices) / 1e6,
        bars=tuple(bars),
        named=True,
        what="what it did",
    )


def _windows(record: DeviceTimeline) -> Table:
    rows = []
    for device in record.devices:
        rows.append((device_words(device), "whole capture", *_parts(device)))
        rows += [
            (device_words(device), phase.name, *_parts(phase))
            for phase in record.phases
            if phase.device == device.device
        ]
    return Table(("device", "window", *PARTS), tuple(rows), numeric=frozenset(range(2, 2 + len(PARTS))))


def _parts(part: Parts) -> tuple[str, ...]:
    share = percent(part.busy_ns / part.wall_ns) if part.wall_ns else "—"
    exposed = (part.compute_ns, part.exposed_communication_ns, part.exposed_copy_ns, part.idle_ns)
    return (_ms(part.wall_ns), share, *map(_ms, exposed))


def _idle(devices: Sequence[DeviceTime]) -> Table | None:
    """Idle time by cause, over all devices."""
    total = sum(device.idle_ns for device in devices)
    sums: Mapping[str, int] = {cause: sum(device.idle_by_cause[cause] for device in devices) for cause in CAUSES}
    rows = sorted(((ns, cause) for cause, ns in sums.items() if ns), reverse=True)
    if not rows:
        return None
    cells = tuple((CAUSES[cause], _ms(ns), percent(ns / total)) for ns, cause in rows)
    return Table(("idle because of", "ms", "share of idle"), cells, numeric=frozenset({1, 2}))


def _gap(gap: Gap) -> str:
    doing = "; ".join(f"thread {row.thread} was in {row.doing}" for row in gap.threads[:3])
    return f"Idle for {_ms(gap.duration_ns)} ms before {gap.ended_by}" + (f": {doing}." if doing else ".")


def _steps(groups: Sequence[StepGroup]) -> Table:
    rows = tuple(
        (
            group.name,
            "—" if group.device is None else str(group.device),
            f"{group.steps:,}",
            *map(_ms, (group.median_ns, group.mean_ns, group.p95_ns, group.longest_ns)),
            f"{group.outliers:,}",
            percent(group.busy_ns / group.wall_ns) if group.wall_ns else "—",
        )
        for group in groups[:TOP]
    )
    columns = ("steps", "device", "number", "median ms", "mean ms", "p95 ms", "longest ms", "over twice the median")
    return Table((*columns, "busy"), rows, numeric=frozenset(range(2, 9)))


def _counters(rows: Sequence[CounterMeans]) -> Table:
    """Means of what the GPU's counters were sampled at."""
    cells = tuple(
        (
            str(row.device),
            row.name if row.window == "phase" else "whole capture" if row.window == "device" else f"{row.name}, steps",
            *map(significant, (row.sm_active_percent, row.tensor_active_percent, row.dram_percent)),
            f"{row.samples:,}",
        )
        for row in rows[:TOP]
    )
    columns = ("device", "window", "SM active %", "tensor active %", "DRAM %", "samples")
    return Table(columns, cells, numeric=frozenset(range(2, len(columns))))


def _copies(copies: Sequence[CopyTime]) -> Table:
    rows = tuple(
        (
            str(copy.device),
            copy.direction,
            f"{copy.source} to {copy.target}" if copy.direction != "set" else copy.target,
            f"{copy.count:,}",
            "—" if copy.bytes is None else f"{copy.bytes:,}",
            _ms(copy.total_ns),
            significant(copy.gb_per_s),
        )
        for copy in copies[:TOP]
    )
    columns = ("device", "copies", "memory", "number", "bytes", "ms", "GB/s")
    return Table(columns, rows, numeric=frozenset(range(3, len(columns))))


def _ranges(ranges: Sequence[RangeTime], total_ns: int) -> Table:
    rows = tuple(
        (
            row.name if row.domain is None else f"{row.domain}: {row.name}",
            f"{row.occurrences:,}",
            _ms(row.host_ns),
            f"{row.kernels:,}",
            _ms(row.kernel_ns),
            _ms(row.own_kernel_ns),
            percent(row.kernel_ns / total_ns) if total_ns else "—",
        )
        for row in ranges
    )
    columns = ("range", "occurrences", "host ms", "kernels", "kernel ms", "of it in no inner range", "share")
    return Table(columns, rows, numeric=frozenset(range(1, len(columns))))


def remarks(record: DeviceTimeline, used: int) -> list[str]:
    """What is left out, not attributed, not trusted, or else to know."""
    lines = [said] if (said := _facts(record)) else []
    hidden = max(0, used - TOP) + record.ranges_left_out
    if hidden:
        lines.append(f"{hidden:,} more ranges are left out here.")
    for row in record.unattributed:
        lines.append(f"Unattributed: {row.count:,} pieces of device work of {_ms(row.total_ns)} ms: {row.reason}.")
    for bad in record.distrusted:
        lines.append(f"Not counted: {bad.count:,} pieces of device work of {_ms(bad.total_ns)} ms: {bad.reason}.")
    return [*lines, *record.note_words()]


def _facts(record: DeviceTimeline) -> str:
    """What the file says of itself."""
    facts = record.facts
    known = {
        "": " ".join(filter(None, (facts.tool, facts.tool_version))),
        "driver ": facts.driver,
        "CUDA ": facts.cuda,
        "rank ": None if facts.rank is None else str(facts.rank),
        "of ": None if facts.world_size is None else str(facts.world_size),
        "command: ": " ".join(facts.command),
    }
    said = ", ".join(f"{word}{value}" for word, value in known.items() if value)
    return f"The file says of itself: {said}." if said else ""


def _ms(value_ns: int) -> str:
    return significant(value_ns / 1e6)


SECTION = ReportSection(30, section)
