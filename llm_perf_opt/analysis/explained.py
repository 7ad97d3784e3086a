"""Where the change of a figure is: its profiled phase part by part, conserved to the change that was measured."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from llm_perf_opt.analysis.student import variance
from llm_perf_opt.records.comparison import ExplainedPart, Explanation, Split
from llm_perf_opt.records.device_timeline import DeviceTimeline, PhaseTime
from llm_perf_opt.records.tables import ProfileTables
from llm_perf_opt.records.workload import Profile

What = Literal["time of the device", "operators on the host", "kernels"]
WHAT: tuple[What, ...] = ("time of the device", "operators on the host", "kernels")
PHASES = {"decode.tpot_ms": "decode", "prefill.latency_ms": "prefill"}
"""Figures whose phase is in the profiled sample."""


@dataclass(frozen=True)
class Profiled:
    """The profiled sample of one run."""

    profile: Profile
    tables: ProfileTables
    timeline: DeviceTimeline | None = None


@dataclass(frozen=True)
class PhaseParts:
    """One phase of one profiled sample, per output token where the figure is."""

    total_ms: float
    """Host range of the phase."""
    parts: Mapping[What, Mapping[str, float]]


def explain(
    figure: str, medians_ms: tuple[float, float], a: Sequence[Profiled], b: Sequence[Profiled]
) -> Explanation | None:
    """The change of one figure split over what the profiled samples of both sides hold; None where they lack its phase.

    Args:
        medians_ms: of the figure in A and in B, unprofiled.
    """
    sides = [[parts for run in side if (parts := phase_parts(figure, run)) is not None] for side in (a, b)]
    if not all(sides):
        return None
    totals = [statistics.fmean(run.total_ms for run in side) for side in sides]
    splits = []
    for what in WHAT:
        held = [[run.parts[what] for run in side] for side in sides]
        # An operator or a kernel that a sample lacks took no time in it; a device that it lacks was not looked at.
        filled = [bool(parts) for side in held for parts in side]
        if all(filled) or (any(filled) and what != "time of the device"):
            splits.append(_split(what, held, totals, medians_ms))
    return Explanation(
        figure=figure,
        a_ms=medians_ms[0],
        b_ms=medians_ms[1],
        profiles=(len(sides[0]), len(sides[1])),
        splits=tuple(splits),
    )


def phase_parts(figure: str, run: Profiled) -> PhaseParts | None:
    """The phase of a figure in one profiled sample, part by part; of several ranks the mean of theirs."""
    phase = PHASES[figure]
    steps = run.profile.decode_steps if phase == "decode" else 1
    total_ms = run.profile.phase_ms.get(phase)
    if total_ms is None or not steps:
        return None
    share = steps * _ranks(run.timeline)
    operators: dict[str, float] = {}
    for row in run.tables.operators:
        if row.phase == phase:
            operators[row.name] = operators.get(row.name, 0.0) + row.self_cpu_ns / 1e6 / share
    kernels = {row.name: row.total_ns / 1e6 / share for row in run.tables.kernels if row.phase == phase}
    device = {name: ns / 1e6 / share for name, ns in _device_ns(phase, run.timeline).items()}
    return PhaseParts(
        total_ms / share, {"time of the device": device, "operators on the host": operators, "kernels": kernels}
    )


def _device_ns(phase: str, timeline: DeviceTimeline | None) -> dict[str, int]:
    """Of the one device of each rank: their wall time, which these parts add up to."""
    times = [] if timeline is None else [found for found in timeline.phases if found.name == phase]
    if len(times) != _ranks(timeline):
        return {}
    total: Counter[str] = Counter()
    for parts in map(device_parts, times):
        total.update(parts)
    return dict(total)


def _ranks(timeline: DeviceTimeline | None) -> int:
    """Ranks whose times are added up."""
    return 1 if timeline is None else max(1, len(timeline.ranks))


def device_parts(time: PhaseTime) -> dict[str, int]:
    return {
        "computing": time.compute_ns,
        "communication not hidden": time.exposed_communication_ns,
        "copies not hidden": time.exposed_copy_ns,
        **{f"idle: {cause}": ns for cause, ns in time.idle_by_cause.items()},
    }


def _split(
    what: What,
    sides: Sequence[Sequence[Mapping[str, float]]],
    totals_ms: Sequence[float],
    medians_ms: tuple[float, float],
) -> Split:
    names = sorted({name for side in sides for run in side for name in run})
    parts = [_part(name, *([run.get(name, 0.0) for run in side] for side in sides)) for name in names]
    profiled = totals_ms[1] - totals_ms[0]
    return Split(
        of=what,
        parts=tuple(
            sorted((part for part in parts if part.change_ms), key=lambda part: (-abs(part.change_ms), part.name))
        ),
        # To the picosecond: what lies below it comes of floating point.
        unattributed_ms=round(profiled - math.fsum(part.change_ms for part in parts), 9),
        profiling_ms=(medians_ms[1] - medians_ms[0]) - profiled,
    )


def _part(name: str, a: Sequence[float], b: Sequence[float]) -> ExplainedPart:
    noise = None
    if min(len(a), len(b)) > 1:
        noise = math.sqrt(variance(a) / len(a) + variance(b) / len(b))
    means = [statistics.fmean(values) if values else 0.0 for values in (a, b)]
    return ExplainedPart(name=name, a_ms=means[0], b_ms=means[1], noise_ms=noise)
