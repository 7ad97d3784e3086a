"""How far a figure may be believed: what its page says below the answer, and `trust` in `summary.json`."""

from __future__ import annotations

from collections.abc import Iterator

from llm_perf_opt.records.device_timeline import DeviceTimeline
from llm_perf_opt.records.metrics import Metric
from llm_perf_opt.reports.facts import Measured, RunFacts
from llm_perf_opt.reports.machine import machine_remarks, state_of
from llm_perf_opt.reports.units import percent, signed_percent

IDLE_CORES = 0.1
"""Other processes that keep less than this busy change no figure that a person would quote."""
MOST_REMARKS = 3
LEAST_UNKNOWN = 0.01
"""Of the idle time: less of an unknown cause is not worth saying."""


def trust_of(facts: RunFacts) -> str | None:
    """On the end-to-end time, or where nothing was timed on the capture; None without either."""
    said = list(_measured(facts) if facts.headline is not None else _captured(facts))
    return f"How far to believe it: {'; '.join(said)}." if said else None


def _measured(facts: RunFacts) -> Iterator[str]:
    measured = facts.headline
    assert measured is not None
    e2e = measured.metrics.metrics["e2e.latency_ms"]
    if e2e.median is not None:
        yield _interval(e2e, len(measured.launches))
        yield from _machine(measured)


def _captured(facts: RunFacts) -> Iterator[str]:
    """On the first capture in which devices worked."""
    line = next((record for _, record in facts.all(DeviceTimeline) if record.devices), None)
    if line is None:
        return
    yield "this is one recording, and recording slows the host down: shares hold better than times"
    idle = sum(device.idle_ns for device in line.devices)
    unknown = sum(device.idle_by_cause.get("launch_not_recorded", 0) for device in line.devices)
    if unknown >= LEAST_UNKNOWN * idle > 0:
        yield f"for {percent(unknown / idle)} of the idle time no launch is recorded"
    if line.distrusted:
        count = sum(item.count for item in line.distrusted)
        yield f"{count:,} event{'s' * (count != 1)} with times that cannot be {'are' if count != 1 else 'is'} left out"
    if facts.setup is None:
        yield "how far it is from the hardware is not known, since imported files come without the model and its inputs"


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
