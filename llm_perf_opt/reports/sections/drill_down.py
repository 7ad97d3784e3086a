"""From phase to kernel, and what happened when: of the profiled sample and of captures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from llm_perf_opt.artifacts.layout import TRACE, drill_down_file
from llm_perf_opt.records.drill_down import DrillDown
from llm_perf_opt.reports.charts.icicle import icicle_of
from llm_perf_opt.reports.charts.time_line import time_line_of
from llm_perf_opt.reports.document import Block, Command, Paragraph, Section
from llm_perf_opt.reports.facts import Found, RunFacts
from llm_perf_opt.reports.section import ReportSection

SLOWER = "A profiler slows the host down: shares are to be compared, times of the host are not to be quoted."


def section(facts: RunFacts) -> Section | None:
    blocks: list[Block] = []
    for place, found in facts.all(DrillDown):
        what = ", ".join((place.stage, *_part(place)))
        blocks += [chart for chart in (icicle_of(found, what), time_line_of(found, what)) if chart is not None]
    if not blocks:
        return None
    folders = list(dict.fromkeys(place.file.parent for place, _ in facts.all(DrillDown)))
    commands = tuple(
        f"llmperf report {facts.path.name} --trace{f' --rank {rank}' if (rank := _rank(folder)) is not None else ''}"
        for folder in folders
        if (folder / TRACE).is_file()
    )
    if commands:
        blocks += [Paragraph("The whole trace in Perfetto:"), Command("\n".join(commands))]
    return Section("Drill-down and time line", (Paragraph(SLOWER), *blocks))


def _rank(folder: Path) -> str | None:
    kind, _, number = folder.name.partition("-")
    return number if kind == "rank" else None


def _part(place: Found) -> Iterator[str]:
    """Which rank or which of several captures it is of."""
    if (rank := _rank(place.file.parent)) is not None:
        yield f"rank {rank}"
    if place.file.name != drill_down_file():
        yield place.file.stem.partition(".")[2]


SECTION = ReportSection(35, section)
