"""Profiled kernels for people: what limits each, and how far it is from the roof."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from llm_perf_opt.analysis.kernels.classify import (
    AT_PEAK_PCT,
    BALANCED_WITHIN_PCT,
    LATENCY_BELOW_PCT,
    NEAR_ITS_ROOF,
    SM_DRAM_WITHIN_PCT,
)
from llm_perf_opt.records.kernels import BoundClass, KernelAnalysis, KernelLaunch, RooflinePoint, RuleResult, Value
from llm_perf_opt.reports.document import Block, Document, Items, Paragraph, Picture, Section, Table
from llm_perf_opt.reports.drawing.roofline import Mark, Roof, Roofline
from llm_perf_opt.reports.units import in_bytes, percent, significant

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
ROOFLINE = "roofline.svg"
NO_CEILINGS = (
    "No roofline was drawn: no kernel has an arithmetic intensity, or no DRAM bandwidth to hold it against is known."
)
MOST_ON_A_TERMINAL = 100


def kernel_document(analysis: KernelAnalysis) -> Document:
    """The whole report, the roofline in it as the file `ROOFLINE` beside it."""
    roofline = kernel_roofline(analysis.launches)
    drawing = Paragraph(NO_CEILINGS) if roofline is None else Picture(roofline.title, ROOFLINE, roofline.svg())
    return _document(analysis, analysis.launches, [drawing], messages=True)


def terminal_document(analysis: KernelAnalysis) -> Document:
    """What a terminal shows: no drawing, and of very many launches the first."""
    return _document(analysis, analysis.launches[:MOST_ON_A_TERMINAL], [], messages=False)


def _document(
    analysis: KernelAnalysis, shown: Sequence[KernelLaunch], drawing: Sequence[Block], *, messages: bool
) -> Document:
    sections = [
        Section("What limits each kernel", tuple(_classes(analysis, shown))),
        Section("Caches, occupancy and traffic", (_caches(shown), *_gaps(analysis.launches))),
        *_told(shown, messages=messages),
        Section("Arithmetic", tuple(_arithmetic(analysis.launches, shown, drawing))),
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
            str(number),
            launch.short_name,
            launch.category,
            CLASSES[launch.bound],
            CLASSES[launch.sm_dram],
            *(_percent(launch.figures[name]) for name in ("sm_pct", "memory_pct", "dram_pct")),
            _shown(launch.figures["duration_ns"], 1e-3),
        )
        for number, launch in enumerate(shown, 1)
    )
    measured = ("SM %", "memory %", "DRAM %", "µs under ncu")
    columns = ("#", "kernel", "category", NCU_COLUMN, SM_DRAM_COLUMN, *measured)
    by_dram = Counter(launch.sm_dram for launch in analysis.launches)
    also = ", ".join(f"{by_dram[bound]:,} {CLASSES[bound]}" for bound in by_dram)
    total = f"{len(analysis.launches):,} profiled launch{'es' if len(analysis.launches) != 1 else ''}"
    blocks: list[Block] = [
        Paragraph(f"{total}: by the 60 % rule {said}; by SM:DRAM {also}." if said else f"{total}."),
        Table(columns, rows, frozenset({0, 5, 6, 7, 8}), names=frozenset({1}), important=(0, 1, 3, 4)),
    ]
    if len(shown) < len(analysis.launches):
        blocks.append(Paragraph(f"{len(analysis.launches) - len(shown):,} more: see --output DIR, or --json."))
    unknown = Counter(launch.why for launch in analysis.launches if launch.bound == "unknown")
    if unknown:
        blocks.append(Items(tuple(f"Unknown for {count:,}: {why}." for why, count in unknown.items())))
    yet = Counter(launch.why for launch in analysis.launches if NEAR_ITS_ROOF in launch.why)
    blocks += [Items(tuple(f"{why}." for why in yet))] if yet else []
    return [*blocks, *map(Paragraph, RULES), Paragraph(analysis.note)]


def _caches(launches: Sequence[KernelLaunch]) -> Table:
    names = ("l1_hit_pct", "l2_hit_pct", "achieved_occupancy_pct", "theoretical_occupancy_pct")
    rows = tuple(
        (
            str(number),
            *(_percent(launch.figures[name]) for name in names),
            _shown(launch.figures["waves_per_sm"]),
            in_bytes(launch.figures["dram_bytes"].value),
            _shown(launch.figures["dram_bytes_per_s"], 1e-9),
        )
        for number, launch in enumerate(launches, 1)
    )
    columns = ("#", "L1 hit %", "L2 hit %", "occupancy %", "theoretical %", "waves", "DRAM", "DRAM GB/s")
    return Table(columns, rows, frozenset(range(len(columns))))


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
            str(number),
            rule.name,
            rule.kind,
            "—" if rule.speedup_pct is None else f"{rule.speedup_pct:.1f}",
            rule.speedup_kind or "—",
            *([rule.message] if messages else []),
        )
        for number, rule in kept[: None if messages else MOST_ON_A_TERMINAL]
    )
    columns = ("#", "rule", "kind", "est. speed-up %", "of", *(["message"] if messages else []))
    left = len(results) - len(rows)
    note = (
        "Estimates are ncu's: global of the kernel's duration, local of the use of the unit that the rule is about; "
        "they do not add up."
    )
    more = f" {left:,} more, and the words of all: --output DIR, or --json." if left or not messages else ""
    table = [Table(columns, rows, frozenset({0, 3}))] if rows else []
    return [*table, Paragraph(note + more)]


def _launches(launches: Sequence[KernelLaunch]) -> Table:
    rows = tuple(
        (str(number), launch.id, launch.grid or "—", launch.block or "—", _device(launch), launch.source, launch.kernel)
        for number, launch in enumerate(launches, 1)
    )
    columns = ("#", "ID", "grid", "block", "GPU", "source", "name as ncu has it")
    return Table(columns, rows, frozenset({0, 1}), names=frozenset({4, 5, 6}))


def _percent(value: Value) -> str:
    """As ncu prints it."""
    return "—" if value.value is None else f"{value.value:.2f}"


def _shown(value: Value, factor: float = 1.0) -> str:
    return significant(None if value.value is None else value.value * factor)


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


def _arithmetic(
    launches: Sequence[KernelLaunch], shown: Sequence[KernelLaunch], drawing: Sequence[Block]
) -> list[Block]:
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
    if rows:
        blocks.append(Table(columns, rows, frozenset({0, 2, 3, 4, 5, 6}), important=(0, 1, 6, 3, 4, 5)))
    blocks += drawing
    reasons = [value.reason for launch in launches for value in launch.flops.values() if value.reason]
    reasons += [point.reason for launch in launches for point in launch.points if point.reason]
    lines = tuple(f"Not known for {count:,} of {len(launches):,}: {text}." for text, count in Counter(reasons).items())
    return [*blocks, Items(lines)] if lines else blocks


def kernel_roofline(launches: Sequence[KernelLaunch]) -> Roofline | None:
    """The launches under the roofs of their GPUs; None where no arithmetic has a ceiling above it.

    A kernel stands there once for each kind of arithmetic. Clocks differ between launches and ceilings with them: the
    highest of each GPU and kind is drawn.
    """
    placed = [
        (number, launch, point, point.intensity_flops_per_byte, point.bandwidth_bytes_per_s)
        for number, launch in enumerate(launches, 1)
        for point in launch.points
        if point.intensity_flops_per_byte and point.bandwidth_bytes_per_s
    ]
    if not placed:
        return None
    under: dict[tuple[str, str], list[tuple[float | None, float]]] = {}
    for _, launch, point, _, bandwidth in placed:
        under.setdefault((_device(launch), point.kind), []).append((point.peak_flops_per_s, bandwidth))
    roofs = (
        Roof(device, kind, _highest(peak for peak, _ in of), max(bandwidth for _, bandwidth in of))
        for (device, kind), of in sorted(under.items())
    )
    marks = (
        Mark(
            device=_device(launch),
            kind=point.kind,
            group=point.kind,
            intensity_flops_per_byte=intensity,
            flops_per_s=point.flops_per_s,
            title=_mark_title(number, launch, point),
            number=number,
        )
        for number, launch, point, intensity, _ in placed
    )
    return Roofline("Kernels on the roofline", "executed", tuple(roofs), tuple(marks))


def _mark_title(number: int, launch: KernelLaunch, point: RooflinePoint) -> str:
    share = "" if point.share_of_roof is None else f", {percent(point.share_of_roof)} of the roof"
    return (
        f"{number}: {launch.short_name} — {point.kind}, {significant(point.intensity_flops_per_byte)} FLOP/byte, "
        f"{significant(point.flops_per_s / 1e9)} GFLOP/s{share}"
    )


def _device(launch: KernelLaunch) -> str:
    """The GPU as far as the export names it."""
    if launch.gpu is not None:
        return launch.gpu
    return f"CC {launch.compute_capability}" if launch.compute_capability is not None else "—"


def _highest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
