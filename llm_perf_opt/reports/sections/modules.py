"""How prefill and decode divide among modules, from the instrumented run."""

from __future__ import annotations

from collections.abc import Sequence

from llm_perf_opt.analysis.vision import vision_times
from llm_perf_opt.records.workload import Instrumented, ModuleTime
from llm_perf_opt.reports.document import Block, Items, Paragraph, Section, Table
from llm_perf_opt.reports.facts import Measured, RunFacts
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.units import percent, significant

COLUMNS = ("phase", "module", "modules", "calls", "total ms", "share of the phase")
INDENT = "–\u00a0"


def section(facts: RunFacts) -> Section | None:
    runs = facts.all(Instrumented)
    if not any(record.modules for _, record in runs):
        items = tuple(f"{place.stage}: no module was timed: {record.reason}" for place, record in runs)
        return Section("Modules", (Items(items),)) if items else None
    place, found = next((place, record) for place, record in runs if record.modules)
    measured = facts.measured[place.stage]
    blocks: list[Block] = [Paragraph(_intro(measured, found)), _table(found)]
    remarks = [*_vision(found), *(f"{name}: not timed: {reason}" for name, reason in found.missing.items())]
    if remarks:
        blocks.append(Items(tuple(remarks)))
    return Section("Modules", tuple(blocks))


def _intro(measured: Measured, found: Instrumented) -> str:
    timed = measured.metrics.metrics["prefill.latency_ms"].median
    samples = ", ".join(str(sample) for sample in found.samples)
    return (
        f"Instrumented: one more run of sample {samples}, after the timed repeats, with hooks on modules. Its prefill "
        f"took {significant(found.prefill_ms)} ms, that of the timed repeats {significant(timed)} ms (median). These "
        "times are parts of their phase and are never added to it; a row with a dash is part of the one above it."
    )


def _table(found: Instrumented) -> Table:
    rows: list[tuple[str, ...]] = []
    for phase, phase_ms in (("prefill", found.prefill_ms), ("decode", found.decode_ms)):
        times = [time for time in found.modules if time.phase == phase]
        for time in (time for time in times if time.within is None):
            inner = [part for part in times if part.within == time.name]
            rows.append(_row(phase, time.name, time, phase_ms))
            rows += [_row(phase, f"{INDENT}{part.name}", part, phase_ms) for part in inner]
            if inner:
                rest_ms = time.total_ms - sum(part.total_ms for part in inner)
                rows.append(
                    (phase, f"{INDENT}norms and the rest", "", "", significant(rest_ms), _share(rest_ms, phase_ms))
                )
    return Table(COLUMNS, tuple(rows), numeric=frozenset(range(2, len(COLUMNS))))


def _row(phase: str, name: str, time: ModuleTime, phase_ms: float | None) -> tuple[str, ...]:
    counts = (f"{time.modules:,}", f"{time.calls:,}")
    return (phase, name, *counts, significant(time.total_ms), _share(time.total_ms, phase_ms))


def _share(part_ms: float, phase_ms: float | None) -> str:
    return percent(part_ms / phase_ms) if phase_ms else "—"


def _vision(found: Instrumented) -> Sequence[str]:
    """What the family's own modules, those outside the language model, are of prefill together."""
    times = vision_times(found)
    if not times or not found.prefill_ms:
        return []
    names = " + ".join(time.name for time in times)
    share = sum(time.total_ms for time in times) / found.prefill_ms
    return [f"Vision ({names}) is {percent(share)} of prefill, nested in it."]


SECTION = ReportSection(44, section)
