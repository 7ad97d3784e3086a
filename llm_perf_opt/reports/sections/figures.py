"""Every figure with its statistics."""

from __future__ import annotations

from llm_perf_opt.records.metrics import Metric, Metrics
from llm_perf_opt.reports.document import Block, Items, Paragraph, Section, Table
from llm_perf_opt.reports.facts import RunFacts
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.units import significant

COLUMNS = ("figure", "unit", "n", "median", "mean", "std", "p95", "95 % CI of the median")


def section(facts: RunFacts) -> Section | None:
    if not facts.measured:
        return None
    blocks: list[Block] = []
    for stage, measured in facts.measured.items():
        blocks += metric_blocks(stage, measured.metrics)
    return Section("Figures", tuple(blocks))


def metric_blocks(stage: str, metrics: Metrics) -> list[Block]:
    """The figures of one stage: a table of those measured, and why the others are not."""
    known = {name: metric for name, metric in metrics.metrics.items() if metric.median is not None}
    unknown = shared_remarks(
        [(name, f"not measured: {metric.reason}") for name, metric in metrics.metrics.items() if name not in known]
    )
    notes = shared_remarks([(name, metric.note) for name, metric in known.items() if metric.note])
    rows = tuple((name, *_cells(metric)) for name, metric in known.items())
    blocks: list[Block] = [
        Paragraph(f"{stage}, timed without a profiler."),
        Table(COLUMNS, rows, numeric=frozenset(range(2, 8))),
    ]
    return [*blocks, Items(tuple(unknown + notes))] if unknown or notes else blocks


def shared_remarks(remarks: list[tuple[str, str]]) -> list[str]:
    """One line a remark, behind the names of all figures that it is made of."""
    names: dict[str, list[str]] = {}
    for name, remark in remarks:
        names.setdefault(remark, []).append(name)
    return [f"{', '.join(named)}: {remark}" for remark, named in names.items()]


def _cells(metric: Metric) -> tuple[str, ...]:
    interval = f"{significant(metric.ci95[0])} to {significant(metric.ci95[1])}" if metric.ci95 else "—"
    values = (metric.median, metric.mean, metric.std, metric.p95)
    return (metric.unit, str(metric.n), *(significant(value) for value in values), interval)


SECTION = ReportSection(30, section)
