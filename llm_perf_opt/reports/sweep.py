"""A sweep for people and for programs: the table, the front, the curves."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from llm_perf_opt.artifacts.files import replacing, write_text, writing
from llm_perf_opt.artifacts.layout import REPORT, REPORT_HTML
from llm_perf_opt.records.sweep import FIGURES, LATENCY, THROUGHPUT, PointResult, PointStatus, Scalar, SweepResults
from llm_perf_opt.reports.document import Block, Document, Items, Paragraph, Section, Table
from llm_perf_opt.reports.html import to_html
from llm_perf_opt.reports.markdown import to_markdown
from llm_perf_opt.reports.sweep_charts import label, said_of, sweep_charts, value_of
from llm_perf_opt.reports.units import in_bytes, percent, significant

RESULTS_JSON, RESULTS_CSV, RESULTS_PARQUET = "results.json", "results.csv", "results.parquet"
MOST_ROWS = 200
"""Of the tables for people; CSV and Parquet have all."""


def write_sweep(results: SweepResults, folder: Path) -> list[Path]:
    """Write the report and the table in all forms into `folder`; the files written.

    Raises:
        MissingError, StageError: one cannot be written.
    """
    document = sweep_document(results)
    texts = {
        RESULTS_JSON: results.model_dump_json(indent=2) + "\n",
        RESULTS_CSV: to_csv(results),
        REPORT: to_markdown(document),
        REPORT_HTML: to_html(document),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    _write_parquet(results, folder / RESULTS_PARQUET)
    return [*(folder / name for name in texts), folder / RESULTS_PARQUET]


def columns_of(results: SweepResults) -> dict[str, list[Any]]:
    """The table by columns: settings, how each point went, then every figure with its interval and bound."""
    rows = results.points
    table: dict[str, list[Any]] = {key: _alike([row.settings.get(key) for row in rows]) for key in results.keys}
    for name in ("id", "status", "reason", "launches", "stage", "device", "prompt_tokens", "new_tokens", "on_front"):
        table[name] = [getattr(row, name) for row in rows]
    for name in FIGURES:
        figures = [row.figures.get(name) for row in rows]
        table[name] = [figure and figure.value for figure in figures]
        table[f"{name}.low"] = [figure and figure.low for figure in figures]
        table[f"{name}.high"] = [figure and figure.high for figure in figures]
    table["interval"] = [next((f.interval for f in row.figures.values() if f.interval), None) for row in rows]
    for name in sorted({name for row in rows for name in row.bounds}):
        table[f"{name}.bound"] = [row.bounds[name].value_ms if name in row.bounds else None for row in rows]
    return table


def _alike(values: list[Scalar]) -> list[Any]:
    """Values of one type, as a column needs them; text where they are mixed."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) < 2:
        return values
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    return [None if value is None else str(value) for value in values]


def to_csv(results: SweepResults) -> str:
    """Every point, empty where a figure is not known."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    table = columns_of(results)
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return text.getvalue()


def _write_parquet(results: SweepResults, path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    units = {name: unit for figure, unit in FIGURES.items() for name in (figure, f"{figure}.low", f"{figure}.high")}
    units |= {f"{figure}.bound": "ms" for figure in FIGURES}
    text = {"reason", "stage", "device", "interval", "status", "id"}
    floats = set(units)
    columns = {}
    fields = []
    for name, values in columns_of(results).items():
        kind = pa.string() if name in text else pa.float64() if name in floats else None
        column = pa.array(values, type=kind)
        columns[name] = column.cast(pa.string()) if pa.types.is_null(column.type) else column
        metadata = {"unit": units[name]} if name in units else None
        fields.append(pa.field(name, columns[name].type, metadata=metadata))
    table = pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))
    with writing(path), replacing(path) as file:
        parquet.write_table(table, file)


def sweep_document(results: SweepResults) -> Document:
    """What was found first, then the front, the curves, all points."""
    sections = [Section("Answer", _answer(results))]
    if charts := sweep_charts(results):
        sections.append(Section("Front and curves", tuple(charts)))
    if results.points:
        sections.append(Section("Points", _table(results)))
    failed = [row for row in results.points if row.status in ("failed", "skipped")]
    if failed:
        said = tuple(f"{label(row)}: {row.status}: {row.reason}" for row in failed[:MOST_ROWS])
        sections.append(Section("What did not run", (Items(said),)))
    return Document("llmperf sweep", tuple(sections))


def _answer(results: SweepResults) -> tuple[Block, ...]:
    rows = results.points
    statuses = [row.status for row in rows]
    said = ", ".join(f"{statuses.count(status)} {status}" for status in get_args(PointStatus) if status in statuses)
    lines = [f"{len(rows)} points over {', '.join(results.keys) or 'nothing'}: {said}."]
    measured = [row for row in rows if row.on_front is not None]
    works = {(row.prompt_tokens, row.new_tokens) for row in measured}
    if measured and len(works) == 1:
        fastest = min(measured, key=lambda row: value_of(row, LATENCY))
        widest = max(measured, key=lambda row: value_of(row, THROUGHPUT))
        lines.append(f"Least latency: {label(fastest)} with {_with_interval(fastest, LATENCY)}.")
        lines.append(f"Most throughput: {label(widest)} with {_with_interval(widest, THROUGHPUT)}.")
        front = sum(bool(row.on_front) for row in measured)
        lines.append(f"On the front of latency against throughput: {front} of {len(measured)} points.")
    elif measured:
        lines.append(
            f"The points are of {len(works)} different lengths of prompt and text; each has a front of its own."
        )
    elif any(row.status == "completed" for row in rows):
        lines.append("No stage timed the model: there are no figures. --infer adds one.")
    return (Items((*lines, *results.notes)),)


def _with_interval(row: PointResult, name: str) -> str:
    figure = row.figures[name]
    if figure.low is None:
        return f"{significant(figure.value)} {figure.unit}"
    over = "over launches" if figure.interval == "launches" else "within one launch"
    low, high = significant(figure.low), significant(figure.high)
    return f"{significant(figure.value)} {figure.unit} (95 % interval {over} {low} to {high})"


UNKNOWN = significant(None)
_SHOWN = (
    *("ttft_ms", "prefill.latency_ms", "decode.tpot_ms", LATENCY, THROUGHPUT, "memory.peak_bytes"),
    *("prefill.mfu", "decode.mbu"),
)


def _table(results: SweepResults) -> tuple[Block, ...]:
    """What was measured of each point; figures that no point has are left out."""
    shown = [name for name in _SHOWN if any(_cell(row, name) != UNKNOWN for row in results.points)]
    bounded = [name for name in shown if _is_bounded(results, name)]
    heads = [head for name in shown for head in ([name, f"at best ({name})"] if name in bounded else [name])]
    columns = (*results.keys, "status", *heads, "front", "run")
    rows = tuple(_cells(results, row, shown, bounded) for row in results.points[:MOST_ROWS])
    first = len(results.keys) + 1
    front = [columns.index(name) for name in (LATENCY, THROUGHPUT) if name in columns]
    table = Table(
        columns,
        rows,
        numeric=frozenset(range(first, len(columns) - 2)),
        important=(*range(first), *front, len(columns) - 2),
    )
    blocks: list[Block] = [table]
    left = len(results.points) - len(rows)
    if left:
        blocks.append(Paragraph(f"{left:,} more are in {RESULTS_CSV}."))
    reasons = sorted({bound.reason for row in results.points for bound in row.bounds.values() if bound.reason})
    if reasons:
        blocks.append(Items(tuple(f"What would be possible at best is not known: {reason}." for reason in reasons)))
    return tuple(blocks)


def _cells(results: SweepResults, row: PointResult, shown: Sequence[str], bounded: Sequence[str]) -> tuple[str, ...]:
    cells = [*(said_of(row.settings.get(key)) for key in results.keys), row.status]
    for name in shown:
        cells.append(_cell(row, name))
        if name in bounded:
            bound = row.bounds.get(name)
            cells.append(significant(bound.value_ms if bound else None))
    return (*cells, "yes" if row.on_front else "", row.id)


def _is_bounded(results: SweepResults, name: str) -> bool:
    return any(name in row.bounds and row.bounds[name].value_ms is not None for row in results.points)


def _cell(row: PointResult, name: str) -> str:
    figure = row.figures.get(name)
    if figure is None or figure.value is None:
        return UNKNOWN
    if figure.unit == "bytes":
        return in_bytes(figure.value)
    return percent(figure.value) if figure.unit == "ratio" else significant(figure.value)
