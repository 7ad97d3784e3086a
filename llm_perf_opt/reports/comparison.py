"""The comparison of two runs for people."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import JsonValue

from llm_perf_opt.analysis.comparison import RATES
from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.artifacts.layout import COMPARISON, COMPARISON_HTML, COMPARISON_REPORT
from llm_perf_opt.records.base import Record
from llm_perf_opt.records.comparison import (
    Comparison,
    Difference,
    FigureChange,
    GateResult,
    LookTaken,
    Profiles,
    SelfTimeChange,
    StageComparison,
)
from llm_perf_opt.records.machine import MachineComparison
from llm_perf_opt.reports.charts.data_table import Column, DataTable
from llm_perf_opt.reports.compare_charts import changes_chart
from llm_perf_opt.reports.compare_explained import explained_section
from llm_perf_opt.reports.document import Block, Document, Items, Lead, Paragraph, Section, Table
from llm_perf_opt.reports.html import to_html
from llm_perf_opt.reports.markdown import to_markdown
from llm_perf_opt.reports.sections.figures import shared_remarks
from llm_perf_opt.reports.units import in_bytes, signed, signed_percent, significant
from llm_perf_opt.reports.verdict import PLURALS, in_words, interval_in_words

READING = (
    "A change is B against A: -10 % is 10 % less than in A. Less is better of times (ms), bytes and joules, more is "
    "better of tokens/s and of shares of the hardware's peak (mfu, mbu). Each verdict by itself is right in 95 of 100 "
    "cases; of twenty figures one is expected to be called different for nothing. The headline was chosen before "
    "looking."
)
MADE_OVER = {
    "launch": "Intervals are over launches of both sides that were made in turn.",
    "block": "A and B were measured at different times: a run is one replicate, and five a side are the least.",
    "repeat": "All intervals and gates are within one launch a side (--within-launch): they tell the scatter of its "
    "repeats and nothing of what the next launch would give.",
}

NAMED = 8
"""Facts that are named in a sentence; the table has all."""


def write_comparison(comparison: Record, document: Document, folder: Path) -> list[Path]:
    """Write `comparison.md`, `.html` and `.json` into `folder`; the files written."""
    texts = {
        COMPARISON_REPORT: to_markdown(document),
        COMPARISON_HTML: to_html(document),
        COMPARISON: comparison.model_dump_json(indent=2) + "\n",
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def comparison_document(comparison: Comparison) -> Document:
    """Verdict first, then gates, figures, what differs, operators."""
    sections = [_verdict(comparison)]
    if comparison.gates:
        sections.append(Section("Gates", (Items(tuple(_gate(gate) for gate in comparison.gates)),)))
    for stage in comparison.stages:
        sections.append(_figures(stage, comparison))
        sections.append(_answers(stage))
    sections += [explained_section(found) for found in comparison.profiles.explained if found.splits]
    sections += [_machine(comparison.machine), _differences(comparison), _profiles(comparison.profiles)]
    return Document("llmperf comparison", tuple(sections))


def _verdict(comparison: Comparison) -> Section:
    rows = tuple(
        (name if len(side) == 1 else f"{name}[{number}]", run.path, str(run.launches), run.experiment, run.created)
        for name, side in (("A", comparison.a), ("B", comparison.b))
        for number, run in enumerate(side)
    )
    runs = Table(("run", "directory", "launches", "experiment", "made"), rows, names=frozenset({1}))
    blocks: list[Block] = [Lead(comparison.verdict), runs]
    if comparison.looks:
        blocks.append(Items(tuple(_look(look) for look in comparison.looks)))
    return Section("Verdict", (*blocks, Paragraph(f"{MADE_OVER[comparison.replicate]} {READING}")))


def _look(look: LookTaken) -> str:
    return f"look at {look.launches} launches a side, at a level of {look.level:g}: {look.outcome}"


def _gate(gate: GateResult) -> str:
    unit = f" {gate.unit}" if gate.unit not in ("", "ratio") else ""
    form = significant if gate.measure in ("value", "same_output") else signed
    found = ""
    if gate.found is not None and gate.measure != "same_output":
        what = {"value": "B is", "difference": "B less A is", "change_percent": "the change is"}[gate.measure]
        found = f" {what} {form(gate.found)}{unit};"
    tested = f" ({gate.test}, one-sided)" if gate.test is not None and gate.outcome != "inconclusive" else ""
    return f"{gate.outcome}: {gate.expression} ({gate.stage}):{found} {gate.reason}{tested}"


def _figures(stage: StageComparison, comparison: Comparison) -> Section:
    replicate = comparison.replicate
    rows = tuple((figure.name, *_cells(figure)) for figure in stage.figures if _measured(figure))
    interval = "interval within one launch" if replicate == "repeat" else f"interval over {PLURALS[replicate]}"
    columns = ("figure", "A", "B", "change", interval, "verdict")
    unknown = shared_remarks([(figure.name, remark) for figure in stage.figures for remark in _unmeasured(figure)])
    reasons = shared_remarks(
        [
            (figure.name, figure.reason)
            for figure in stage.figures
            if _both(figure) and not stage.work.reason and figure.reason and figure.outcome not in PLAIN
        ]
    )
    methods = shared_remarks(
        [
            (figure.name, f"{figure.method}, {figure.confidence * 100:.3g} %")
            for figure in stage.figures
            if figure.method is not None and figure.confidence is not None
        ]
    )
    table = Table(columns, rows, numeric=frozenset({1, 2, 3, 4}), important=(0, 3, 5, 4))
    drawn = changes_chart(stage, table, replicate, comparison.tolerance_percent)
    blocks: list[Block] = [Paragraph(_work(stage)), drawn or table]
    lines = (*stage.remarks, *methods, *reasons, *unknown)
    return Section(f"Figures of {stage.stage}", (*blocks, Items(lines)) if lines else tuple(blocks))


PLAIN = ("faster", "slower", "same")
"""Outcomes that need no reason beside their interval."""


def _work(stage: StageComparison) -> str:
    if stage.work.relation == "different" and stage.work.rates:
        return (
            f"Different numbers of tokens: {stage.work.reason}. Of rates ({', '.join(RATES)}) the change is computed."
        )
    if stage.work.relation == "different":
        return f"Different work: {stage.work.reason}. Values are shown, no change is computed."
    medians = "A and B are medians; the change is estimated from launches, so it need not be the ratio of the medians."
    differing = [item.name for item in stage.work.differences]
    names = ", ".join(differing[:NAMED])
    if len(differing) > NAMED:
        names += f" and {len(differing) - NAMED} more below"
    if stage.work.relation == "same":
        lead = "Same work: model, weights, type, execution, inputs and outputs are equal."
    else:
        lead = "Comparable: the same inputs, prompt tokens and numbers of new tokens in every batch."
        names = names or "the ids of the tokens"
    return f"{lead} Not the same: {names}. {medians}" if names else f"{lead} {medians}"


def _answers(stage: StageComparison) -> Section:
    """What B said otherwise than A, sample by sample."""
    answers = stage.answers
    title = f"Answers of {stage.stage}"
    if answers.relation == "unknown":
        return Section(title, (Paragraph(f"Whether B said what A said is not known: {answers.reason}."),))
    if answers.relation == "same":
        return Section(title, (Paragraph(f"Both said the same to all of {answers.samples} samples."),))
    rows = tuple(
        (
            str(found.sample),
            found.source,
            str(found.position),
            "ended" if found.token_a is None else str(found.token_a),
            "ended" if found.token_b is None else str(found.token_b),
            f"{found.tokens_a:,}",
            f"{found.tokens_b:,}",
        )
        for found in answers.differences[:NAMED]
    )
    columns = ("sample", "source", "first difference at", "token of A", "token of B", "tokens A", "tokens B")
    table = Table(columns, rows, numeric=frozenset({0, 2, 3, 4, 5, 6}), names=frozenset({1}), important=(1, 2, 3, 4))
    more = "" if len(answers.differences) <= NAMED else f" The first {NAMED} are shown; the JSON has all."
    text = f"B said something else to {answers.differing} of {answers.samples} samples.{more}"
    return Section(title, (Paragraph(text), table))


def _unmeasured(figure: FigureChange) -> list[str]:
    if not _measured(figure) and figure.a.reason == figure.b.reason:
        return [f"not measured in either run: {figure.a.reason}"]
    runs = (("A", figure.a), ("B", figure.b))
    return [f"not measured in {name}: {run.reason}" for name, run in runs if run.median is None]


def _measured(figure: FigureChange) -> bool:
    return figure.a.median is not None or figure.b.median is not None


def _both(figure: FigureChange) -> bool:
    return figure.a.median is not None and figure.b.median is not None


def _cells(figure: FigureChange) -> tuple[str, ...]:
    show = in_bytes if figure.unit == "bytes" else significant
    return (show(figure.a.median), show(figure.b.median), *_change(figure), in_words(figure))


def _change(figure: FigureChange) -> tuple[str, str]:
    """In percent, or in the figure's unit where there is no percentage."""
    interval = interval_in_words(figure) or "—"
    if figure.change_percent is not None:
        return signed_percent(figure.change_percent), interval
    if figure.difference is not None:
        return f"{signed(figure.difference)} {figure.unit}", interval
    return "—", "—"


def _machine(machine: MachineComparison) -> Section:
    blocks: list[Block] = []
    if machine.changes:
        rows = tuple((item.what, item.a, item.b, item.effect) for item in machine.changes)
        blocks.append(Table(("what", "A", "B", "the verdict is"), rows, important=(0, 1, 2, 3)))
    else:
        blocks.append(Paragraph("The same for A and B in all that was recorded."))
    if machine.unknown:
        blocks.append(Paragraph(f"Not recorded on both sides, and so not compared: {', '.join(machine.unknown)}."))
    return Section("The machine", tuple(blocks))


def _differences(comparison: Comparison) -> Section:
    groups: list[tuple[str, tuple[Difference, ...]]] = [
        ("setting", comparison.config),
        *((stage.stage, stage.work.differences) for stage in comparison.stages),
        ("environment", comparison.environment),
        ("inputs", comparison.inputs),
    ]
    rows = tuple((kind, item.name, _value(item.a), _value(item.b)) for kind, items in groups for item in items)
    title = "What differs besides the figures"
    if not rows:
        return Section(title, (Paragraph("Nothing: settings, model, device, environment and inputs are equal."),))
    return Section(title, (Table(("of", "name", "A", "B"), rows, names=frozenset({1}), important=(1, 2, 3)),))


def _value(value: JsonValue) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _profiles(profiles: Profiles) -> Section:
    title = "Operators and kernels that changed most"
    if profiles.reason is not None:
        return Section(title, (Paragraph(f"Not compared: {profiles.reason}."),))
    intro = (
        "Self time of one sample under the profiler, which slows the host down: one observation a run, so there is no "
        "interval and no gate is held against it. An operator has self time on the host, and device time of what it "
        "launched; the two are never added. The self time of a range is host work outside operators."
    )
    changed = (
        ("operator, on the host", profiles.operators),
        ("operator, on the device", profiles.operators_on_device),
        ("kernel", profiles.kernels),
    )
    tables: list[Block] = [_self_times(what, changes) for what, changes in changed if changes]
    return Section(title, (Paragraph(intro), *(tables or [Paragraph("No self time differs.")])))


def _self_times(what: str, changes: tuple[SelfTimeChange, ...]) -> DataTable:
    columns = (
        Column("phase", "choice"),
        Column(what),
        Column("calls A", "count"),
        Column("calls B", "count"),
        Column("A ms", "number"),
        Column("B ms", "number"),
        Column("change ms", "change"),
    )
    rows = tuple(
        (
            change.phase,
            change.name,
            change.calls_a,
            change.calls_b,
            change.self_ms_a,
            change.self_ms_b,
            change.change_ms,
        )
        for change in changes
    )
    title = f"Changes of self time: {what}"
    return DataTable(
        title=title, columns=columns, rows=rows, shown=len(rows), elsewhere=COMPARISON, important=(1, 6, 4, 5, 0)
    )
