"""Every decode step over the length of the cache."""

from __future__ import annotations

from llm_perf_opt.analysis.metrics import SLOW, decode_steps
from llm_perf_opt.reports.charts.steps import steps_chart
from llm_perf_opt.reports.document import Section
from llm_perf_opt.reports.facts import Measured, RunFacts
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.units import percent, significant


def section(facts: RunFacts) -> Section | None:
    measured = facts.headline
    found = None if measured is None else decode_steps(measured.batches)
    if measured is None or found is None:
        return None
    repeats = sum(len(batch.repeats) for batch in measured.batches)
    slow = (
        f"red: over {SLOW:g} times the median of {significant(found.p50_ms)} ms ({found.slow:,} steps, "
        f"{percent(found.slow_share)} of decode time)"
        if found.slow
        else f"none took over {SLOW:g} times the median of {significant(found.p50_ms)} ms"
    )
    words = f"{found.n:,} steps of {repeats:,} repeats. Line: median; {slow}."
    return Section("Every decode step", (steps_chart(_times(measured), SLOW * found.p50_ms, words),))


def _times(measured: Measured) -> dict[int, list[float]]:
    """By the tokens in the cache, padding included: the first step reads the cache of the prompt, each adds a token."""
    times: dict[int, list[float]] = {}
    for batch in measured.batches:
        for repeat in batch.repeats:
            for cached, ms in enumerate(repeat.step_ms, batch.padded_tokens):
                times.setdefault(cached, []).append(ms)
    return times


SECTION = ReportSection(38, section)
