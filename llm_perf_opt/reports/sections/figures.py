"""Every figure with its statistics."""

from __future__ import annotations

from llm_perf_opt.records.metrics import Metric, Metrics
from llm_perf_opt.reports.document import Block, Items, Paragraph, Section, Table
from llm_perf_opt.reports.facts import RunFacts
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.units import significant

COLUMNS = ("figure", "unit", "n", "median", "mean", "std", "p95")
ONE_LAUNCH = "95 % CI within one launch"
LAUNCHES = ("std within launches", "std between launches", "95 % CI over launches")


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
    launches = max((len(metric.launch_medians) for metric in known.values()), default=1)
    rows = tuple((name, *_cells(metric, launches)) for name, metric in known.items())
    columns = (*COLUMNS, *(LAUNCHES if launches > 1 else (ONE_LAUNCH,)))
    how = f"{stage}, timed without a profiler" + (f" in {launches} launches." if launches > 1 else ".")
    blocks: list[Block] = [Paragraph(how), Table(columns, rows, numeric=frozenset(range(2, len(columns))))]
    return [*blocks, Items(tuple(unknown + notes))] if unknown or notes else blocks


def shared_remarks(remarks: list[tuple[str, str]]) -> list[str]:
    """One line a remark, behind the names of all figures that it is made of."""
    names: dict[str, list[str]] = {}
    for name, remark in remarks:
        names.setdefault(remark, []).append(name)
    return [f"{', '.join(named)}: {remark}" for remark, named in names.items()]


def _cells(metric: Metric, launches: int) -> tuple[str, ...]:
    interval = f"{significant(metric.ci95[0])} to {significant(metric.ci95[1])}" if metric.ci95 else "—"
    spreads = (metric.std_within_launches, metric.std_between_launches) if launches > 1 else ()
    values = (metric.median, metric.mean, metric.std, metric.p95, *spreads)
    return (metric.unit, str(metric.n), *(significant(value) for value in values), interval)


SECTION = ReportSection(58, section)
