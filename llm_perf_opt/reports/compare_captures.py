"""Two runs of which one at least was imported: their captures side by side, and that as a document."""

from __future__ import annotations

from llm_perf_opt.analysis.capture_changes import part_changes, rate_changes, table_changes
from llm_perf_opt.errors import MissingError
from llm_perf_opt.records.capture_comparison import (
    CaptureComparison,
    CaptureIdentity,
    CaptureTable,
    PartChange,
    RateChange,
)
from llm_perf_opt.records.device_timeline import DeviceTimeline
from llm_perf_opt.reports.document import Block, Document, Items, Paragraph, Section, Table
from llm_perf_opt.reports.facts import RunFacts
from llm_perf_opt.reports.units import percent, signed, signed_percent, significant
from llm_perf_opt.reports.write import title_of

NO_VERDICT = (
    "No verdict: an imported run is one recording, which says nothing of how much differs from one to the next. What "
    "differs is shown as it was recorded."
)


def compare_captures(a: RunFacts, b: RunFacts) -> CaptureComparison:
    """Hold the captures of B against those of A.

    Raises:
        MissingError: one of them holds none with a time line.
    """
    found = [_lines(run) for run in (a, b)]
    missing = [f"{name} ({run.path})" for name, run, lines in zip("AB", (a, b), found, strict=True) if not lines[1]]
    if missing:
        raise MissingError(
            f"{' and '.join(missing)} holds no time line to compare",
            "compare imports of nsys exports and torch traces; times under ncu are not compared with others",
        )
    (stage_a, one), (stage_b, other) = found
    tools = [{line.facts.tool for line in lines} for lines in (one, other)]
    short = tools[0] != tools[1]
    rates = rate_changes(one, other)
    return CaptureComparison(
        a=_identity(a, stage_a, one),
        b=_identity(b, stage_b, other),
        reason=NO_VERDICT,
        parts=part_changes(one, other),
        rates=rates,
        tables=table_changes(one, other, short=short),
        notes=tuple(_notes(one, other, short, rates)),
    )


def _lines(run: RunFacts) -> tuple[str, list[DeviceTimeline]]:
    """The time lines of the first stage that has some with anything in them."""
    held = [(place.stage, line) for place, line in run.all(DeviceTimeline) if line.devices or line.operators]
    stage = held[0][0] if held else ""
    return stage, [line for where, line in held if where == stage]


def _identity(run: RunFacts, stage: str, lines: list[DeviceTimeline]) -> CaptureIdentity:
    facts = lines[0].facts
    return CaptureIdentity(
        path=str(run.path),
        name=title_of(run),
        stage=stage,
        sources=tuple(line.source for line in lines),
        tool=" ".join(filter(None, (facts.tool, facts.tool_version))) or None,
        gpus=tuple(device.name for line in lines for device in line.devices),
    )


def _notes(a: list[DeviceTimeline], b: list[DeviceTimeline], short: bool, rates: tuple[RateChange, ...]) -> list[str]:
    notes = []
    if short:
        notes.append("The captures are of different tools: kernels are matched by their short names.")
    differing = [row.name for row in rates if row.steps_a != row.steps_b]
    if differing:
        notes.append(
            f"The captures hold different numbers of steps ({', '.join(differing)}): compare times of a step, not sums."
        )
    for name, lines in (("A", a), ("B", b)):
        left = sum(line.kernels_left_out + line.operators_left_out + line.ranges_left_out for line in lines)
        if left:
            notes.append(f"{left:,} rows of the tables of {name} are not in its time line, and count as absent.")
    return notes


def captures_document(comparison: CaptureComparison) -> Document:
    """That there is no verdict, then where the time went, steps, tables."""
    sides = tuple(
        (name, run.name, run.path, ", ".join(run.sources), run.tool or "—", ", ".join(_known(run.gpus)) or "—")
        for name, run in (("A", comparison.a), ("B", comparison.b))
    )
    columns = ("run", "name", "directory", "files", "tool", "GPUs")
    first: list[Block] = [Paragraph(comparison.reason), Table(columns, sides, names=frozenset({2}))]
    first += [Items(comparison.notes)] if comparison.notes else []
    sections = [Section("Verdict", tuple(first)), Section("Where the time went", (_parts(comparison.parts),))]
    if comparison.rates:
        sections.append(Section("Time of a step", (_rates(comparison.rates),)))
    sections += [Section(f"{table.kind.capitalize()} that differ most", _table(table)) for table in comparison.tables]
    return Document("llmperf comparison", tuple(sections))


def _known(gpus: tuple[str | None, ...]) -> list[str]:
    return list(dict.fromkeys(gpu for gpu in gpus if gpu is not None))


def _parts(parts: tuple[PartChange, ...]) -> Table:
    rows = tuple(
        (
            part.name.replace("_", " "),
            _ms(part.time_ns_a),
            _ms(part.time_ns_b),
            signed((part.time_ns_b - part.time_ns_a) / 1e6),
            _percent(part.share_a),
            _percent(part.share_b),
        )
        for part in parts
    )
    columns = ("of all devices", "A ms", "B ms", "change ms", "share A", "share B")
    return Table(columns, rows, numeric=frozenset(range(1, 6)))


def _rates(rates: tuple[RateChange, ...]) -> Table:
    rows = tuple(
        (
            row.name,
            f"{row.steps_a:,}",
            f"{row.steps_b:,}",
            *map(_ms, (row.median_ns_a, row.median_ns_b, row.mean_ns_a, row.mean_ns_b)),
            "—" if row.change_percent is None else signed_percent(row.change_percent),
        )
        for row in rates
    )
    columns = (
        "steps",
        "number A",
        "number B",
        "median A ms",
        "median B ms",
        "mean A ms",
        "mean B ms",
        "change of mean",
    )
    return Table(columns, rows, numeric=frozenset(range(1, 8)))


def _table(table: CaptureTable) -> tuple[Block, ...]:
    rows = tuple(
        (
            row.phase or "—",
            row.name,
            f"{row.calls_a:,}",
            f"{row.calls_b:,}",
            _ms(row.time_ns_a),
            _ms(row.time_ns_b),
            signed(row.change_ns / 1e6),
            _percent(row.share_a),
            _percent(row.share_b),
        )
        for row in table.rows
    )
    columns = ("phase", "name", "calls A", "calls B", "A ms", "B ms", "change ms", "share A", "share B")
    shown = Table(columns, rows, frozenset(range(2, 9)), names=frozenset({1}), important=(1, 6, 4, 5))
    left = [Paragraph(f"{table.rows_left_out:,} rows that differ less are left out.")] if table.rows_left_out else []
    return (shown, *left)


def _ms(ns: int) -> str:
    return significant(ns / 1e6)


def _percent(share: float | None) -> str:
    return "—" if share is None else percent(share)
