"""What would help, with its figures, what to change and the most it can bring."""

from __future__ import annotations

from collections.abc import Sequence

from llm_perf_opt.artifacts.layout import SUMMARY
from llm_perf_opt.records.advice import Advice, AdviceFigure
from llm_perf_opt.records.device_timeline import DeviceTimeline
from llm_perf_opt.reports.advice import advice_of
from llm_perf_opt.reports.document import Block, Items, Paragraph, Section, Table
from llm_perf_opt.reports.facts import RunFacts
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.units import percent, significant

MOST = 5
READING = (
    "The most it can bring is Amdahl's bound: what would be gained were the part to take its least time. It is no "
    "prediction, and what two pieces of advice can bring is never added."
)
TITLE = "What would help"


def section(facts: RunFacts) -> Section | None:
    found = advice_of(facts)
    if found:
        return Section(TITLE, tuple(blocks(found)))
    if not facts.measured and not facts.all(DeviceTimeline):
        return None
    return Section(TITLE, (Paragraph("No rule fires on what this run holds; docs/advice.md lists them."),))


def blocks(found: Sequence[Advice]) -> list[Block]:
    """The first of them in words, and the figures they rest on."""
    shown = found[:MOST]
    said = Items(tuple(map(words, shown)), evidence=tuple(map(evidence, shown)))
    made: list[Block] = [said, Paragraph(READING), _figures(shown)]
    left = len(found) - len(shown)
    return [*made, Paragraph(f"{left} more, with lower bounds or none, in {SUMMARY} under advice.")] if left else made


def words(advice: Advice) -> str:
    """The sentence, what to change, and the bound."""
    return f"{advice.sentence} {advice.change} {_bound(advice)}"


EVIDENCE = (
    ("modules[]", "Modules"),
    ("step_ms", "Every decode step"),
    ("operators.", "Operators and kernels"),
    ("clock_events", "Hardware state and memory"),
    ("reports[]", "Nsight captures"),
    ("facts.", "Nsight captures"),
    ("devices[]", "Device time line"),
    ("steps[", "Device time line"),
    ("categories[]", "Device time line"),
    ("idle_by_cause", "Device time line"),
    ("batches[]", "Figures"),
    ("metrics.", "Figures"),
    ("compilation.", "Work"),
)
"""Fields that a figure was worked out of → the section that shows them; the first that is there."""


def evidence(advice: Advice) -> str | None:
    """The section that shows what it fires on."""
    fields = "".join(figure.source.partition(": ")[2] for figure in advice.figures[:1])
    return next((title for part, title in EVIDENCE if part in fields), None)


def _bound(advice: Advice) -> str:
    saving = advice.saving
    if saving is None:
        return f"What it can bring is not known: {advice.saving_reason}."
    faster = "" if saving.speedup is None else f" ({significant(saving.speedup, 3)} times as fast)"
    return f"At the most it brings {percent(saving.share)} of {saving.of}{faster}, if {saving.where}."


def _figures(shown: Sequence[Advice]) -> Table:
    rows = tuple(
        (advice.rule, figure.name, _value(figure), figure.source) for advice in shown for figure in advice.figures
    )
    return Table(
        ("rule", "figure", "value", "from"),
        rows,
        numeric=frozenset({2}),
        important=(1, 2, 3, 0),
        folded="As a table: the figures that these rules fire on",
    )


def _value(figure: AdviceFigure) -> str:
    return percent(figure.value) if figure.unit == "share" else f"{significant(figure.value)} {figure.unit}"


SECTION = ReportSection(15, section)
