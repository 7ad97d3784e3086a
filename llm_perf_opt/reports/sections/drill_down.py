"""From phase to kernel, and what happened when: of the profiled sample and of captures."""

from __future__ import annotations

from llm_perf_opt.artifacts.layout import TRACE
from llm_perf_opt.records.drill_down import DrillDown
from llm_perf_opt.reports.charts.icicle import icicle_of
from llm_perf_opt.reports.charts.time_line import time_line_of
from llm_perf_opt.reports.document import Block, Command, Paragraph, Section
from llm_perf_opt.reports.facts import RunFacts
from llm_perf_opt.reports.section import ReportSection

SLOWER = "A profiler slows the host down: shares are to be compared, times of the host are not to be quoted."


def section(facts: RunFacts) -> Section | None:
    blocks: list[Block] = []
    for place, found in facts.all(DrillDown):
        what = place.stage if place.file.stem == "drill_down" else f"{place.stage}, {place.file.stem.partition('.')[2]}"
        blocks += [chart for chart in (icicle_of(found, what), time_line_of(found, what)) if chart is not None]
    if not blocks:
        return None
    traces = [stage for stage in facts.manifest.stages if (facts.path / stage / TRACE).is_file()]
    if traces:
        blocks += [Paragraph("The whole trace in Perfetto:"), Command(f"llmperf report {facts.path.name} --trace")]
    return Section("Drill-down and time line", (Paragraph(SLOWER), *blocks))


SECTION = ReportSection(35, section)
