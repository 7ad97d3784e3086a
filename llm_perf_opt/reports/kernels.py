"""Profiled kernels for people: what limits each, and how far it is from the roof."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from llm_perf_opt.analysis.kernels.classify import (
    AT_PEAK_PCT,
    BALANCED_WITHIN_PCT,
    LATENCY_BELOW_PCT,
    NEAR_ITS_ROOF,
    SM_DRAM_WITHIN_PCT,
)
from llm_perf_opt.records.kernels import BoundClass, KernelAnalysis, KernelLaunch, RuleResult, Value
from llm_perf_opt.reports.charts.data_table import Column, DataTable
from llm_perf_opt.reports.document import Block, Document, Items, Lead, Paragraph, Section, Table
from llm_perf_opt.reports.kernel_roofline import device_of, kernel_roofline
from llm_perf_opt.reports.units import percent, significant

CLASSES: dict[BoundClass, str] = {
    "compute_bound": "compute-bound",
    "memory_bound": "memory-bound",
    "balanced": "balanced",
    "latency_bound": "latency-bound",
    "small_grid": "grid fills a part of the GPU",
    "unknown": "unknown",
}
"""Class → what people read."""

NCU_COLUMN, SM_DRAM_COLUMN = "class, 60 % rule", "class, SM:DRAM"
RULES = (
    f"60 % rule (ncu's own): below {LATENCY_BELOW_PCT:.0f} % of peak in both compute (SM) and memory throughput a "
    "kernel is latency-bound, or its grid fills a part of the GPU (less than one wave). Balanced: they are less than "
    f"{BALANCED_WITHIN_PCT:.0f} points apart. Else the higher one limits. Where one of them was not measured, a unit "
    f"from {AT_PEAK_PCT:.0f} % of peak on does.",
    f"SM:DRAM: SM against DRAM throughput however low both are, balanced where they are less than "
    f"{SM_DRAM_WITHIN_PCT:.0f} points apart.",
)
NO_CEILINGS = (
    "No roofline was drawn: no kernel has an arithmetic intensity, or no DRAM bandwidth to hold it against is known."
)
MOST_ON_A_TERMINAL = 100


def kernel_document(analysis: KernelAnalysis) -> Document:
    """The whole report, with the roofline."""
    return _document(analysis, analysis.launches, messages=True, drawn=True)


def terminal_document(analysis: KernelAnalysis) -> Document:
    """What a terminal shows: no drawing, and of very many launches the first."""
    return _document(analysis, analysis.launches[:MOST_ON_A_TERMINAL], messages=False, drawn=False)


def _document(analysis: KernelAnalysis, shown: Sequence[KernelLaunch], *, messages: bool, drawn: bool) -> Document:
    sections = [
        Section("What limits each kernel", tuple(_classes(analysis, shown))),
        Section("Arithmetic", tuple(_arithmetic(analysis, shown, drawn=drawn))),
        Section("Caches, occupancy and traffic", (_caches(shown), *_gaps(analysis.launches))),
        *_told(shown, messages=messages),
        Section("Launches", (_launches(shown),)),
    ]
    if analysis.problems:
        lines = tuple(f"{problem.path}: {problem.reason}" for problem in analysis.problems)
        sections.append(Section("Not read", (Items(lines),)))
    return Document("Profiled kernels", tuple(sections))


def _classes(analysis: KernelAnalysis, shown: Sequence[KernelLaunch]) -> list[Block]:
    counts = Counter(launch.bound for launch in analysis.launches)
    said = ", ".join(f"{counts[bound]:,} {words}" for bound, words in CLASSES.items() if counts[bound])
    rows = tuple(
        (
            number,
            launch.short_name,
            launch.category,
            CLASSES[launch.bound],
            CLASSES[launch.sm_dram],
            *(launch.figures[name].value for name in ("sm_pct", "memory_pct", "dram_pct")),
            _times(launch.figures["duration_ns"], 1e-3),
        )
        for number, launch in enumerate(shown, 1)
    )
    columns = (
        Column("#", "count"),
        Column("kernel"),
        Column("category", "choice"),
        Column(NCU_COLUMN, "choice"),
        Column(SM_DRAM_COLUMN, "choice"),
        *(Column(name, "hundredths") for name in ("SM %", "memory %", "DRAM %")),
        Column("µs under ncu", "number"),
    )
    table = DataTable(title="Profiled launches", columns=columns, rows=rows, shown=len(rows), important=(0, 1, 3, 4))
    by_dram = Counter(launch.sm_dram for launch in analysis.launches)
    also = ", ".join(f"{by_dram[bound]:,} {CLASSES[bound]}" for bound in by_dram)
    total = f"{len(analysis.launches):,} profiled launch{'es' if len(analysis.launches) != 1 else ''}"
    blocks: list[Block] = [
        Lead(f"{total}: by the 60 % rule {said}; by SM:DRAM {also}." if said else f"{total}."),
        table,
    ]
    if len(shown) < len(analysis.launches):
        blocks.append(Paragraph(f"{len(analysis.launches) - len(shown):,} more: see --output DIR, or --json."))
    unknown = Counter(launch.why for launch in analysis.launches if launch.bound == "unknown")
    if unknown:
        blocks.append(Items(tuple(f"Unknown for {count:,}: {why}." for why, count in unknown.items())))
    yet = Counter(launch.why for launch in analysis.launches if NEAR_ITS_ROOF in launch.why)
    blocks += [Items(tuple(f"{why}." for why in yet))] if yet else []
    return [*blocks, *map(Paragraph, RULES), Paragraph(analysis.note)]


def _caches(launches: Sequence[KernelLaunch]) -> DataTable:
    names = ("l1_hit_pct", "l2_hit_pct", "achieved_occupancy_pct", "theoretical_occupancy_pct")
    rows = tuple(
        (
            number,
            *(launch.figures[name].value for name in names),
            launch.figures["waves_per_sm"].value,
            _times(launch.figures["dram_bytes"], 1e-6),
            _times(launch.figures["dram_bytes_per_s"], 1e-9),
        )
        for number, launch in enumerate(launches, 1)
    )
    columns = (
        Column("#", "count"),
        *(Column(name, "hundredths") for name in ("L1 hit %", "L2 hit %", "occupancy %", "theoretical %")),
        *(Column(name, "number") for name in ("waves", "DRAM MB", "DRAM GB/s")),
    )
    return DataTable(title="Caches, occupancy and traffic", columns=columns, rows=rows, shown=len(rows))


def _told(launches: Sequence[KernelLaunch], *, messages: bool) -> list[Section]:
    """Why warps waited, how memory was accessed, and what ncu's own rules said: as far as it was recorded."""
    sections = []
    if any(_accessed(launch) for launch in launches):
        rows = tuple(
            (str(number), _stalls(launch), *(_shown(launch.figures[name]) for name in _PER_REQUEST))
            for number, launch in enumerate(launches, 1)
            if _accessed(launch)
        )
        columns = ("#", "stalled, warps per issue", "sectors per load", "sectors per store")
        note = Paragraph(
            "Warps that each reason kept from issuing, per instruction issued. A warp that reads or writes 4 bytes a "
            "thread in one piece needs 4 sectors a request; more is memory that is not accessed in one piece."
        )
        table = Table(columns, rows, frozenset({0, 2, 3}))
        sections.append(Section("Stalls and memory accesses", (table, note)))
    results = [(number, rule) for number, launch in enumerate(launches, 1) for rule in launch.rules]
    if results:
        sections.append(Section("What ncu's own rules said", tuple(rule_blocks(results, messages=messages))))
    remarks = tuple(f"{launch.source}, {remark}." for launch in launches for remark in launch.remarks)
    return [*sections, Section("Values that cannot be", (Items(remarks),))] if remarks else sections


_PER_REQUEST = ("sectors_per_load", "sectors_per_store")
_MOST_STALLS = 3


def _accessed(launch: KernelLaunch) -> bool:
    return bool(launch.stalls) or any(launch.figures[name].value is not None for name in _PER_REQUEST)


def _stalls(launch: KernelLaunch) -> str:
    highest = list(launch.stalls.items())[:_MOST_STALLS]
    return ", ".join(f"{reason.replace('_', ' ')} {value:.2f}" for reason, value in highest) or "—"


def rule_blocks(results: Sequence[tuple[int, RuleResult]], *, messages: bool) -> list[Block]:
    """A table of results of ncu's rules, each with what it is of.

    Args:
        messages: all of them, with their words; else those that speak of an optimization.
    """
    kept = [(number, rule) for number, rule in results if messages or rule.kind != "INF"]
    rows = tuple(
        (
            number,
            rule.name,
            rule.kind,
            rule.speedup_pct,
            rule.speedup_kind or "—",
            *([rule.message] if messages else []),
        )
        for number, rule in kept[: None if messages else MOST_ON_A_TERMINAL]
    )
    columns = (
        Column("#", "count"),
        *(Column(name, "choice") for name in ("rule", "kind")),
        Column("est. speed-up %", "number"),
        Column("of", "choice"),
        *([Column("message", "prose")] if messages else []),
    )
    left = len(results) - len(rows)
    note = (
        "Estimates are ncu's: global of the kernel's duration, local of the use of the unit that the rule is about; "
        "they do not add up."
    )
    more = f" {left:,} more, and the words of all: --output DIR, or --json." if left or not messages else ""
    table = [DataTable(title="Results of rules", columns=columns, rows=rows, shown=len(rows))] if rows else []
    return [*table, Paragraph(note + more)]


def _launches(launches: Sequence[KernelLaunch]) -> Table:
    rows = tuple(
        (
            str(number),
            launch.id,
            launch.grid or "—",
            launch.block or "—",
            device_of(launch),
            launch.source,
            launch.kernel,
        )
        for number, launch in enumerate(launches, 1)
    )
    columns = ("#", "ID", "grid", "block", "GPU", "source", "name as ncu has it")
    return Table(columns, rows, frozenset({0, 1}), names=frozenset({4, 5, 6}))


def _times(value: Value, factor: float) -> float | None:
    return None if value.value is None else value.value * factor


def _shown(value: Value, factor: float = 1.0) -> str:
    return significant(_times(value, factor))


def _gaps(launches: Sequence[KernelLaunch]) -> list[Block]:
    """Why figures are missing, each reason once."""
    reasons: dict[str, dict[str, int]] = {}
    for launch in launches:
        for name, value in launch.figures.items():
            if value.reason is not None:
                of = reasons.setdefault(value.reason, {})
                of[name] = of.get(name, 0) + 1
    lines = tuple(
        f"Not measured: {', '.join(_counted(name, count, len(launches)) for name, count in names.items())}: {reason}."
        for reason, names in reasons.items()
    )
    return [Items(lines)] if lines else []


def _counted(name: str, count: int, total: int) -> str:
    return name if count == total else f"{name} ({count:,} of {total:,})"


def _arithmetic(analysis: KernelAnalysis, shown: Sequence[KernelLaunch], *, drawn: bool) -> list[Block]:
    launches = analysis.launches
    rows = tuple(
        (
            str(number),
            point.kind,
            significant(point.flops / 1e6),
            significant(point.flops_per_s / 1e9),
            significant(point.intensity_flops_per_byte),
            significant(None if point.roof_flops_per_s is None else point.roof_flops_per_s / 1e9),
            "—" if point.share_of_roof is None else percent(point.share_of_roof),
            point.ceiling or "—",
        )
        for number, launch in enumerate(shown, 1)
        for point in launch.points
    )
    blocks: list[Block] = [
        Paragraph(
            "Executed operations by kind, per byte of DRAM traffic, and the share of what the GPU allows at that "
            "intensity."
        )
    ]
    columns = ("#", "kind", "MFLOP", "GFLOP/s", "FLOP/byte", "roof GFLOP/s", "of the roof", "ceilings from")
    table = Table(columns, rows, frozenset({0, 2, 3, 4, 5, 6}), important=(0, 1, 6, 3, 4, 5))
    roofline = kernel_roofline(analysis, table) if drawn else None
    if drawn and roofline is None:
        blocks.append(Paragraph(NO_CEILINGS))
    if rows:
        blocks.append(roofline or table)
    reasons = [value.reason for launch in launches for value in launch.flops.values() if value.reason]
    reasons += [point.reason for launch in launches for point in launch.points if point.reason]
    lines = tuple(f"Not known for {count:,} of {len(launches):,}: {text}." for text, count in Counter(reasons).items())
    return [*blocks, Items(lines)] if lines else blocks
