"""The figures of a launch, each from the first of its metrics that the export has."""

from __future__ import annotations

from dataclasses import dataclass

from llm_perf_opt.records.kernels import Launch, Value


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a launch."""

    name: str
    """Key in `kernels.json`; ends in its unit."""
    metrics: tuple[str, ...]
    """ncu's names, the first that is there counts."""


SM = "sm__throughput.avg.pct_of_peak_sustained_elapsed"
MEMORY = "gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed"
DURATION = "gpu__time_duration.sum"
READ, WRITTEN = "dram__bytes_read.sum", "dram__bytes_write.sum"
TRAFFIC, TRAFFIC_RATE = "dram__bytes.sum", "dram__bytes.sum.per_second"

FIGURES = (
    Figure("duration_ns", (DURATION, "gpu__time_duration.avg")),
    Figure("sm_pct", (SM,)),
    Figure("memory_pct", (MEMORY,)),
    Figure(
        "dram_pct",
        (
            "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed",
            "dram__throughput.avg.pct_of_peak_sustained_elapsed",
        ),
    ),
    Figure("l1_pct", ("l1tex__throughput.avg.pct_of_peak_sustained_active",)),
    Figure("l2_pct", ("lts__throughput.avg.pct_of_peak_sustained_elapsed",)),
    Figure("l1_hit_pct", ("l1tex__t_sector_hit_rate.pct",)),
    Figure("l2_hit_pct", ("lts__t_sector_hit_rate.pct",)),
    Figure("mem_busy_pct", ("gpu__compute_memory_access_throughput.avg.pct_of_peak_sustained_elapsed",)),
    Figure("max_bandwidth_pct", ("gpu__compute_memory_request_throughput.avg.pct_of_peak_sustained_elapsed",)),
    Figure("dram_bytes_per_s", (TRAFFIC_RATE,)),
    Figure("achieved_occupancy_pct", ("sm__warps_active.avg.pct_of_peak_sustained_active",)),
    Figure("theoretical_occupancy_pct", ("sm__maximum_warps_per_active_cycle_pct",)),
    Figure("waves_per_sm", ("launch__waves_per_multiprocessor",)),
)
"""What is read of every launch, beside `dram_bytes`, which may need two metrics."""

READ_HERE = frozenset(
    {name for figure in FIGURES for name in figure.metrics} | {READ, WRITTEN, TRAFFIC}
)  # fmt: skip


def figures(launch: Launch) -> dict[str, Value]:
    """Every figure of `FIGURES` and `dram_bytes`; null with the metrics that are missing."""
    found = {figure.name: _first(launch, figure.metrics) for figure in FIGURES}
    return {**found, "dram_bytes": dram_bytes(launch)}


def _first(launch: Launch, names: tuple[str, ...]) -> Value:
    value = next((launch.metrics[name] for name in names if name in launch.metrics), None)
    return Value(value=value) if value is not None else missing(names)


def missing(names: tuple[str, ...]) -> Value:
    """A null for want of any of these metrics."""
    return Value(value=None, reason=f"the export has no value of {' or '.join(names)}")


def dram_bytes(launch: Launch) -> Value:
    """Bytes read from and written to DRAM: counted, or the rate times the duration."""
    metrics = launch.metrics
    if READ in metrics and WRITTEN in metrics:
        return Value(value=metrics[READ] + metrics[WRITTEN])
    if TRAFFIC in metrics:
        return Value(value=metrics[TRAFFIC])
    if TRAFFIC_RATE in metrics and DURATION in metrics:
        return Value(value=metrics[TRAFFIC_RATE] * metrics[DURATION] * 1e-9)
    return missing((f"{READ} with {WRITTEN}", TRAFFIC, f"{TRAFFIC_RATE} with {DURATION}"))
