"""Profiled kernels under the roofs of their GPUs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from llm_perf_opt.analysis.kernel_names import short_name
from llm_perf_opt.records.kernels import KernelAnalysis, KernelLaunch, RooflinePoint
from llm_perf_opt.reports.charts.roofline import Listed, Point, Roof, RooflineChart
from llm_perf_opt.reports.document import Table
from llm_perf_opt.reports.units import percent, significant

MOST_LISTED = 200
"""Kernels that can be shown alone."""
NOTE = (
    "Executed operations over DRAM traffic, as ncu counted them; a kernel stands there once for each launch and kind "
    "of arithmetic. Clocks differ between launches and ceilings with them: the highest of each GPU and kind is drawn. "
    "Of the roof: the highest share."
)


def kernel_roofline(analysis: KernelAnalysis, behind: Table) -> RooflineChart | None:
    """The launches by kernel, the longest first; None where no arithmetic has a ceiling above it."""
    launches, captured = analysis.launches, analysis.captured_ns
    kernels = _by_time(launches, captured)
    rows = {kernel: row for row, kernel in enumerate(kernels) if row < MOST_LISTED}
    placed = [
        (number, launch, point, point.intensity_flops_per_byte, point.bandwidth_bytes_per_s)
        for number, launch in enumerate(launches, 1)
        for point in launch.points
        if point.intensity_flops_per_byte and point.bandwidth_bytes_per_s
    ]
    if not placed:
        return None
    several = len({device_of(launch) for _, launch, *_ in placed}) > 1
    under: dict[tuple[str, str], list[tuple[float | None, float]]] = {}
    for _, launch, point, _, bandwidth in placed:
        under.setdefault((device_of(launch), point.kind), []).append((point.peak_flops_per_s, bandwidth))
    places = {key: at for at, key in enumerate(sorted(under))}
    roofs = tuple(
        Roof(
            f"{kind}, {device}" if several else kind,
            highest(peak for peak, _ in under[device, kind]),
            max(bandwidth for _, bandwidth in under[device, kind]),
        )
        for device, kind in places
    )
    points = [
        Point(
            name=launch.kernel,
            flops_per_byte=intensity,
            flops_per_s=point.flops_per_s,
            remark=_remark(number, point),
            roof=places[device_of(launch), point.kind],
            row=rows.get(launch.kernel),
        )
        for number, launch, point, intensity, _ in placed
    ]
    points.sort(key=lambda point: MOST_LISTED if point.row is None else point.row)
    columns = ("kernel", *(("ms in nsys",) if captured else ("launches", "µs")), "of roof")
    listed = tuple(_row(kernel, of, captured) for kernel, of in kernels.items() if kernel in rows)
    of_time = (
        "Time: of all launches in the nsys captures of the runs."
        if captured
        else "Time: of the profiled launches, under ncu."
    )
    more = "" if len(kernels) <= MOST_LISTED else f" The longest {MOST_LISTED} of {len(kernels):,} are listed."
    return RooflineChart(
        title="Kernels on the roofline",
        note=f"{NOTE} {of_time}{more}",
        points=tuple(points),
        roofs=roofs,
        listed=Listed(columns, listed),
        behind=behind,
    )


def _by_time(launches: Sequence[KernelLaunch], captured: Mapping[str, int]) -> dict[str, list[KernelLaunch]]:
    """Kernel → its launches; the longest together first."""
    found: dict[str, list[KernelLaunch]] = {}
    for launch in launches:
        found.setdefault(launch.kernel, []).append(launch)
    return dict(sorted(found.items(), key=lambda item: (-captured.get(item[0], 0), -_duration_ns(item[1]), item[0])))


def _duration_ns(launches: Iterable[KernelLaunch]) -> float:
    return sum(launch.figures["duration_ns"].value or 0.0 for launch in launches)


def _row(kernel: str, launches: Sequence[KernelLaunch], captured: Mapping[str, int]) -> tuple[str, ...]:
    shares = [point.share_of_roof for launch in launches for point in launch.points if point.share_of_roof is not None]
    reached = percent(max(shares)) if shares else "—"
    if captured:
        ns = captured.get(kernel)
        return short_name(kernel), significant(None if ns is None else ns / 1e6), reached
    return short_name(kernel), f"{len(launches):,}", significant(_duration_ns(launches) / 1e3), reached


def _remark(number: int, point: RooflinePoint) -> str:
    share = "" if point.share_of_roof is None else f", {percent(point.share_of_roof)} of the roof"
    return f"launch {number}{share}"


def device_of(launch: KernelLaunch) -> str:
    """The GPU as far as the export names it."""
    if launch.gpu is not None:
        return launch.gpu
    return f"CC {launch.compute_capability}" if launch.compute_capability is not None else "—"


def highest(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
