"""What the page of a comparison draws."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from llm_perf_opt.records.comparison import FigureChange, Replicate, StageComparison
from llm_perf_opt.reports.charts.changes import Change, Changes
from llm_perf_opt.reports.document import Table
from llm_perf_opt.reports.units import in_bytes, signed_percent, significant
from llm_perf_opt.reports.verdict import PLURALS, in_words, interval_in_words

_GOOD = {"faster": True, "slower": False}


def changes_chart(
    stage: StageComparison, behind: Table, replicate: Replicate, tolerance_percent: float
) -> Changes | None:
    """Every figure that was compared; None where none was."""
    changes = tuple(_change(figure) for figure in stage.figures if figure.a.values)
    if not changes:
        return None
    return Changes(
        title=f"Figures of {stage.stage}",
        changes=changes,
        dots=PLURALS[replicate],
        tolerance_percent=tolerance_percent,
        behind=behind,
    )


def _middle(values: Sequence[float]) -> float | None:
    """Of the dots: that of all repeats is another number where batches differ."""
    return statistics.median(values) if values else None


def _change(figure: FigureChange) -> Change:
    show = in_bytes if figure.unit == "bytes" else significant
    unit = "" if figure.unit in ("bytes", "ratio") else f" {figure.unit}"
    percent = figure.change_percent
    interval = interval_in_words(figure)
    said = "no percentage" if percent is None else signed_percent(percent)
    return Change(
        name=figure.name,
        words=f"{show(figure.a.median)} → {show(figure.b.median)}{unit}",
        a=figure.a.values,
        b=figure.b.values,
        medians=(_middle(figure.a.values), _middle(figure.b.values)),
        percent=percent,
        interval=figure.change_percent_interval,
        said=f"{said}, interval {interval}" if interval else said,
        verdict=in_words(figure),
        good=_GOOD.get(figure.outcome),
    )
