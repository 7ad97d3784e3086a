"""How far a figure may be believed: what its page says below the answer, and `trust` in `summary.json`."""

from __future__ import annotations

from collections.abc import Iterator

from llm_perf_opt.records.metrics import Metric
from llm_perf_opt.reports.facts import Measured, RunFacts
from llm_perf_opt.reports.machine import machine_remarks, state_of
from llm_perf_opt.reports.units import signed_percent

IDLE_CORES = 0.1
"""Other processes that keep less than this busy change no figure that a person would quote."""
MOST_REMARKS = 3


def trust_of(facts: RunFacts) -> str | None:
    """One sentence on the end-to-end time; None where nothing was timed."""
    measured = facts.headline
    if measured is None:
        return None
    e2e = measured.metrics.metrics["e2e.latency_ms"]
    if e2e.median is None:
        return None
    return f"How far to believe it: {'; '.join((_interval(e2e, len(measured.launches)), *_machine(measured)))}."


def _interval(metric: Metric, launches: int) -> str:
    assert metric.median is not None
    of = f"{launches:,} launches" if launches > 1 else f"{metric.n:,} repeat{'s' * (metric.n != 1)} of one launch"
    if metric.ci95 is None:
        return f"{of} give{'s' * (metric.n == 1)} no interval of the end-to-end median"
    low, high = (signed_percent(100 * (bound / metric.median - 1)) for bound in metric.ci95)
    said = f"the end-to-end median is known within {low} and {high} (95 %, {of})"
    return said if launches > 1 else f"{said}, and another launch may differ by more"


def _machine(measured: Measured) -> Iterator[str]:
    """What others did meanwhile, on average over the launches, and the first remarks on drift and outliers."""
    states = [state_of(item) for item in measured.launches]
    busy = [state.others_cores for state in states if state.others_cores is not None]
    cores = max((state.cores for state in states if state.cores is not None), default=None)
    if busy and cores is not None:
        mean = sum(busy) / len(busy)
        kept = f"kept {mean:.1f} of {cores} cores busy meanwhile"
        yield f"other processes {kept if mean >= IDLE_CORES else 'did next to nothing meanwhile'}"
    else:
        yield "what other processes did meanwhile was not recorded"
    yield from machine_remarks(measured)[:MOST_REMARKS]
