"""From launches as ncu exported them to what limits each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from llm_perf_opt.analysis.kernel_names import category, identity, short_name
from llm_perf_opt.analysis.kernels import ceilings
from llm_perf_opt.analysis.kernels.arithmetic import executed, is_counter
from llm_perf_opt.analysis.kernels.classify import by_dram, explain
from llm_perf_opt.analysis.kernels.figures import figures, is_figure, stalls
from llm_perf_opt.records.kernels import (
    KernelAnalysis,
    KernelArithmetic,
    KernelLaunch,
    Launch,
    RooflinePoint,
    Unreadable,
    Value,
)

NOT_FOR_TIMES = (
    "ncu locks clocks, flushes caches and replays: compare its counters between kernels, never its times with those of "
    "other tools."
)


def is_read(name: str) -> bool:
    """Whether the analysis uses the metric; a reader may leave all others out."""
    return is_figure(name) or is_counter(name)


def analyze_kernels(
    launches: Iterable[Launch],
    problems: Sequence[Unreadable] = (),
    captured_ns: Mapping[str, int] = MappingProxyType({}),
) -> KernelAnalysis:
    """Every launch in the order given, with what could not be read.

    Args:
        captured_ns: time of each kernel in captures, by its `identity`.
    """
    found = tuple(analyze_launch(launch) for launch in launches)
    kernels = {launch.kernel: captured_ns.get(identity(launch.kernel)) for launch in found}
    return KernelAnalysis(
        launches=found,
        captured_ns={kernel: ns for kernel, ns in kernels.items() if ns is not None},
        problems=tuple(problems),
        note=NOT_FOR_TIMES,
    )


def analyze_launch(launch: Launch) -> KernelLaunch:
    found = figures(launch)
    flops = executed(launch)
    made = (_point(launch, kind, value.value, found) for kind, value in flops.items() if value.value)
    points = tuple(sorted((point for point in made if point is not None), key=lambda point: (-point.flops, point.kind)))
    bound, why = explain(found, launch.rules, points)
    sm_dram, sm_dram_why = by_dram(found)
    return KernelLaunch(
        source=launch.source,
        id=launch.id,
        kernel=launch.kernel,
        short_name=short_name(launch.kernel),
        category=category(launch.kernel),
        identity=identity(launch.kernel),
        grid=launch.grid or None,
        block=launch.block or None,
        device=launch.device or None,
        compute_capability=launch.compute_capability or None,
        gpu=launch.gpu,
        bound=bound,
        why=why,
        sm_dram=sm_dram,
        sm_dram_why=sm_dram_why,
        figures=found,
        flops=flops,
        points=points,
        stalls=stalls(launch),
        rules=tuple(launch.rules),
        remarks=tuple(launch.remarks),
    )


MOST_KERNELS = 100


def arithmetic_by_kernel(launches: Iterable[KernelLaunch]) -> tuple[KernelArithmetic, ...]:
    """Of launches whose FLOPs and DRAM traffic were counted, the longest kernels first, the first `MOST_KERNELS`."""
    found: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for launch in launches:
        moved, duration = launch.figures["dram_bytes"].value, launch.figures["duration_ns"].value
        if moved and duration:
            for point in launch.points:
                found.setdefault((launch.kernel, point.kind), []).append((point.flops, moved, duration))
    kernels = [
        KernelArithmetic(
            kernel=kernel,
            kind=kind,
            launches=len(parts),
            flops=sum(flops for flops, _, _ in parts),
            dram_bytes=sum(moved for _, moved, _ in parts),
            duration_ns=sum(duration for *_, duration in parts),
        )
        for (kernel, kind), parts in found.items()
    ]
    return tuple(sorted(kernels, key=lambda item: (-item.duration_ns, item.kernel, item.kind)))[:MOST_KERNELS]


def _point(launch: Launch, kind: str, flops: float, found: dict[str, Value]) -> RooflinePoint | None:
    """None where there is no duration to make a rate of."""
    nanoseconds, moved = found["duration_ns"].value, found["dram_bytes"]
    if not nanoseconds:
        return None
    rate = flops / (nanoseconds * 1e-9)
    reasons = [] if moved.value else [moved.reason or "no DRAM traffic was counted, so there is no intensity"]
    intensity = flops / moved.value if moved.value else None
    peak, bandwidth = ceilings.peak(launch, kind), ceilings.bandwidth(launch)
    reasons += [limit.reason for limit in (peak, bandwidth) if limit.reason]
    roof = None
    if intensity is not None and peak.value is not None and bandwidth.value is not None:
        roof = min(peak.value, intensity * bandwidth.value)
    share = rate / roof if roof else None
    if share is not None and share > 1:
        reasons.append("above the roof: a ceiling or a count is not that of this launch")
    sources = dict.fromkeys(limit.source for limit in (peak, bandwidth) if limit.source)
    return RooflinePoint(
        kind=kind,
        flops=flops,
        flops_per_s=rate,
        intensity_flops_per_byte=intensity,
        peak_flops_per_s=peak.value,
        bandwidth_bytes_per_s=bandwidth.value,
        roof_flops_per_s=roof,
        share_of_roof=share,
        ceiling=" and ".join(sources) or None,
        reason="; ".join(reasons) or None,
    )
