"""The trend of runs for people: the clear steps first, then a table of each series, and drawings on the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.artifacts.layout import REPORT, REPORT_HTML, TREND
from llm_perf_opt.records.history import Trend, TrendFigure, TrendMark, TrendPoint, TrendSeries, TrendStep
from llm_perf_opt.reports.charts.curves import Curve, Curves, Mark, Spot
from llm_perf_opt.reports.document import Block, Document, Items, Paragraph, Section, Table
from llm_perf_opt.reports.html import to_html
from llm_perf_opt.reports.markdown import to_markdown
from llm_perf_opt.reports.run_list import passed_over_blocks
from llm_perf_opt.reports.units import percent_interval, signed_percent, significant
from llm_perf_opt.reports.verdict import WITHIN

READING = (
    "A step is claimed by the rule of blocks: a run is one replicate, and five on each side are the least. For each "
    "figure of each series the chance that any step is claimed where nothing changed is at most {level:g} %, if runs "
    "are independent. Where no step is named none is clear, which does not say that nothing changed."
)


def trend_document(trend: Trend, *, limit: int = 0, drawn: bool = False, named: bool = True) -> Document:
    """Every series.

    Args:
        limit: rows of a table, the newest; 0 for all.
        drawn: with a chart of each figure.
        named: with everything that was passed over.
    """
    sections = [_section(trend, series, limit, drawn) for series in trend.series]
    closing: list[Block] = passed_over_blocks(trend.passed_over, named=named)
    closing.append(Paragraph(READING.format(level=trend.level * 100)))
    if not sections:
        closing.insert(0, Paragraph("There are no runs that timed a model."))
    return Document("llmperf trend", (*sections, Section("How to read it", tuple(closing))))


def write_trend(trend: Trend, folder: Path) -> list[Path]:
    """Write the report and `trend.json` into `folder`; the files written."""
    document = trend_document(trend, drawn=True)
    texts = {
        REPORT: to_markdown(document),
        REPORT_HTML: to_html(document),
        TREND: trend.model_dump_json(indent=2) + "\n",
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def _section(trend: Trend, series: TrendSeries, limit: int, drawn: bool) -> Section:
    blocks: list[Block] = [Paragraph(_what(series))]
    if series.steps:
        blocks.append(Items(tuple(step_in_words(series, step) for step in series.steps)))
    elif len(series.points) > 1:
        blocks.append(Paragraph("No step is clear."))
    if drawn:
        blocks += _charts(trend.figures, series)
    blocks.append(_table(trend.figures, series, limit))
    if limit and len(series.points) > limit:
        blocks.append(Paragraph(f"The newest {limit:,} of {len(series.points):,} runs; --limit 0 shows all."))
    notes = [f"{_date(point)} {point.path}: {note}" for point in _shown(series, limit) for note in point.notes]
    if notes:
        blocks.append(Items(tuple(notes)))
    return Section(f"{series.name}, {series.dtype}", tuple(blocks))


def _what(series: TrendSeries) -> str:
    prompts = series.prompt_tokens
    tokens = f"{min(prompts):,}" if min(prompts) == max(prompts) else f"{min(prompts):,} to {max(prompts):,}"
    most = "" if series.max_new_tokens is None else f", at most {series.max_new_tokens:,} new ones"
    runs = f"{len(series.points):,} run{'s' if len(series.points) > 1 else ''}"
    samples = f"{series.samples:,} sample{'s' if series.samples > 1 else ''}"
    weights = series.weights_id if ":" in series.weights_id else f"sha256 {series.weights_id[:12]}"
    return (
        f"{runs}. {series.model_type}, {series.parameters:,} parameters, weights {weights}; {samples} of {tokens} "
        f"prompt tokens{most}. Series {series.id}."
    )


def step_in_words(series: TrendSeries, step: TrendStep) -> str:
    """One clear step, with what is marked at it."""
    before, after = series.points[step.point - 1], series.points[step.point]
    change = "no percentage, some values are 0"
    if step.change_percent is not None:
        change = signed_percent(step.change_percent)
    if step.change_percent_interval is not None and step.confidence is not None:
        low, high = step.change_percent_interval
        ends = percent_interval((low, high)) if high is not None else f"{signed_percent(low)} to any"
        change += f" ({100 * step.confidence:.4g} % interval {ends}, {step.method})"
    marks = "; ".join(map(mark_in_words, after.marks))
    return (
        f"{step.figure} is {step.outcome} from {after.path} ({_date(after)}) on: {change} over the {step.runs[0]} runs "
        f"up to {before.path} and the {step.runs[1]} after. "
        + (f"Changed there: {marks}." if marks else "Nothing that is recorded changed there.")
    )


def mark_in_words(mark: TrendMark) -> str:
    return f"{mark.kind}: {mark.name} {mark.before} → {mark.after}"


def _shown(series: TrendSeries, limit: int) -> Sequence[TrendPoint]:
    return series.points[-limit:] if limit else series.points


def _table(figures: Sequence[str], series: TrendSeries, limit: int) -> Table:
    points = _shown(series, limit)
    within = {
        figure.interval_over == "repeats within one launch"
        for point in points
        for figure in point.figures.values()
        if figure.interval is not None
    }
    said = f"95 % interval {WITHIN}" if within == {True} else "95 % interval"
    columns = ("made (UTC)", "run", "launches", *(f"{name} ({said})" for name in figures), "changed")
    rows = tuple(
        (
            _date(point),
            point.path,
            str(point.launches),
            *(_cell(point.figures[name], mixed=len(within) > 1) for name in figures),
            "; ".join(map(mark_in_words, point.marks)),
        )
        for point in points
    )
    count = len(columns)
    numeric = frozenset(range(2, count - 1))
    return Table(columns, rows, numeric=numeric, names=frozenset({1}), important=(0, *range(3, count)))


def _cell(figure: TrendFigure, *, mixed: bool) -> str:
    if figure.median is None or figure.interval is None:
        return significant(figure.median)
    ends = f"{significant(figure.interval[0])} to {significant(figure.interval[1])}"
    within = f" {WITHIN}" if mixed and figure.interval_over == "repeats within one launch" else ""
    return f"{significant(figure.median)} ({ends}{within})"


def _charts(figures: Sequence[str], series: TrendSeries) -> Iterator[Curves]:
    """One a figure: runs in the order they were made, at equal distances, so that a clock that jumped moves none."""
    for name in figures:
        measured = [point for point in series.points if point.figures[name].median is not None]
        if not measured:
            continue
        places = {id(point): at for at, point in enumerate(measured)}
        marks = [
            Mark(at - 0.5 if at else 0.0, "; ".join(map(mark_in_words, point.marks)))
            for at, point in enumerate(measured)
            if point.marks
        ]
        marks += [
            Mark(places[id(series.points[step.point])] - 0.5, step_in_words(series, step), step=True)
            for step in series.steps
            if step.figure == name
        ]
        unit = measured[-1].figures[name].unit
        days = {point.created[:10] for point in measured}
        told = slice(11, 16) if len(days) == 1 else slice(10)
        yield Curves(
            title=f"{name}, {series.name}",
            note=f"{name}: one point a run, with its interval.",
            across=f"runs as they were made{f' on {days.pop()} (UTC)' if len(days) == 1 else ''}",
            up=name if unit in name else f"{name}, {unit}",
            curves=(Curve(name, tuple(_spot(name, at, point) for at, point in enumerate(measured)), joined=False),),
            marks=tuple(marks),
            labels=tuple((float(at), point.created[told]) for at, point in enumerate(measured)),
            from_zero=False,
        )


def _spot(name: str, at: int, point: TrendPoint) -> Spot:
    figure = point.figures[name]
    assert figure.median is not None
    words = f"{_date(point)} {point.path}: {_cell(figure, mixed=True)} {figure.unit}"
    return Spot(float(at), figure.median, words, figure.interval)


def _date(point: TrendPoint) -> str:
    return point.created[:16].replace("T", " ")
