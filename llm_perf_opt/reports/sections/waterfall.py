"""What the captured prefill and decode steps are made of, from the bound of static analysis up."""

from __future__ import annotations

from llm_perf_opt.records.waterfall import Waterfall
from llm_perf_opt.reports.charts.bars import Bar, Bars, Part, Tone
from llm_perf_opt.reports.document import Block, Items, Paragraph, Section
from llm_perf_opt.reports.facts import RunFacts
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.sections.timeline import CAUSES
from llm_perf_opt.reports.waterfall import waterfalls

READING = (
    "The static bound is the least time that the work of these steps takes on this GPU; what is above it, exposed "
    "communication and copies, and idle time by its cause add up to the time of the captured steps."
)
PARTS = {
    "static_bound_ns": "static bound",
    "kernels_above_bound_ns": "kernels above the bound",
    "exposed_communication_ns": "exposed communication",
    "exposed_copy_ns": "exposed copies",
}
SAID = {
    "static_bound_ns": "static bound",
    "captured_step_ns": "time of a step",
    "cost_of_profiling_ns": "cost of profiling",
}
"""Of what is null, that which the report gives the reason of."""


def section(facts: RunFacts) -> Section | None:
    blocks: list[Block] = []
    for place, record, found in waterfalls(facts):
        for phase, one in found.items():
            if one.wall_ns is not None:
                blocks += _blocks(f"{place.stage}, {record.source}, {phase}", one)
    reading = [Paragraph(READING)] if any(isinstance(block, Bars) for block in blocks) else []
    return Section("Waterfall of the captured steps", (*blocks, *reading)) if blocks else None


def _blocks(what: str, found: Waterfall) -> list[Block]:
    """The sentence, the parts, and why any is missing."""
    blocks: list[Block] = [Paragraph(f"{found.answer} ({what})")]
    if found.parts.idle_by_cause is None:
        return blocks
    lines = [] if found.bound_source is None else [f"The bound: {found.bound_source}."]
    by_reason: dict[str, list[str]] = {}
    for name, words in SAID.items():
        if name in found.reasons:
            by_reason.setdefault(found.reasons[name], []).append(words)
    lines += [f"No {' and no '.join(names)}: {reason}." for reason, names in by_reason.items()]
    return [*blocks, parts_bars(what, found), *([Items(tuple(lines))] if lines else [])]


TONES: dict[str, Tone] = {
    "kernels": "compute",
    PARTS["static_bound_ns"]: "compute",
    PARTS["kernels_above_bound_ns"]: "decode",
    PARTS["exposed_communication_ns"]: "communication",
    PARTS["exposed_copy_ns"]: "copy",
}


def parts_bars(what: str, found: Waterfall) -> Bars:
    """Each part with its share; where there is no bound, kernels are one part."""
    parts, wall = found.parts, found.wall_ns
    assert parts.idle_by_cause is not None and wall is not None
    amounts = {words: getattr(parts, name) for name, words in PARTS.items()}
    if parts.kernels_above_bound_ns is None:
        del amounts[PARTS["static_bound_ns"]], amounts[PARTS["kernels_above_bound_ns"]]
        amounts = {"kernels": found.kernel_ns, **amounts}
    inflated = ", inflated by profiling" if found.host_causes_inflated else ""
    for cause, ns in parts.idle_by_cause.items():
        amounts[f"idle: {CAUSES[cause]}{inflated if cause.startswith('host_') else ''}"] = ns or None
    parts_of = tuple(Part(words, ns / 1e6, TONES.get(words, "idle")) for words, ns in amounts.items() if ns is not None)
    return Bars(
        title=f"Waterfall: {what}",
        unit="ms",
        total=wall / 1e6,
        bars=(Bar(what, parts_of),),
        whole="the captured steps",
    )


SECTION = ReportSection(25, section)
