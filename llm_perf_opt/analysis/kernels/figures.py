"""The figures of a launch, each from the first of its metrics that the export has, else worked out of its parts."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from llm_perf_opt.hardware.catalogue import find_gpu
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
DRAM = (
    "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed",
    "dram__throughput.avg.pct_of_peak_sustained_elapsed",
)
DURATION = "gpu__time_duration.sum"
READ, WRITTEN = "dram__bytes_read.sum", "dram__bytes_write.sum"
TRAFFIC, TRAFFIC_RATE = "dram__bytes.sum", "dram__bytes.sum.per_second"
READ_RATE, WRITTEN_RATE = f"{READ}.per_second", f"{WRITTEN}.per_second"
READ_SECTORS, WRITTEN_SECTORS = "dram__sectors_read.sum", "dram__sectors_write.sum"
SECTOR_BYTES = 32
BYTES_A_CYCLE, DRAM_CLOCK = "dram__bytes.sum.peak_sustained", "dram__cycles_elapsed.avg.per_second"
ACCESS = "gpu__compute_memory_access_throughput.avg.pct_of_peak_sustained_elapsed"
REQUEST = "gpu__compute_memory_request_throughput.avg.pct_of_peak_sustained_elapsed"
WAVES = "launch__waves_per_multiprocessor"
SM_COUNT = ("launch__sm_count", "device__attribute_multiprocessor_count")
GRID_SIZE = "launch__grid_size"
# Blocks that fit into one multiprocessor, by what they need; barriers are counted by recent versions only.
LIMITS = tuple(f"launch__occupancy_limit_{name}" for name in ("blocks", "registers", "shared_mem", "warps"))
BARRIERS = "launch__occupancy_limit_barriers"
L1, L2 = "l1tex__t_sectors", "lts__t_sectors"
_STALL = re.compile(r"smsp__average_warps_issue_stalled_(?P<reason>\w+)_per_issue_active\.ratio")
SELECTED = "selected"
"""Not a stall: the warp that issued."""
_PER_REQUEST = "l1tex__average_t_sectors_per_request_pipe_lsu_mem_global_op_{}.ratio"
_OF_REQUESTS = ("l1tex__t_sectors_pipe_lsu_mem_global_op_{}.sum", "l1tex__t_requests_pipe_lsu_mem_global_op_{}.sum")

FIGURES = (
    Figure("duration_ns", (DURATION, "gpu__time_duration.avg")),
    Figure("sm_pct", (SM,)),
    Figure("memory_pct", (MEMORY,)),
    Figure("dram_pct", DRAM),
    Figure("l1_pct", ("l1tex__throughput.avg.pct_of_peak_sustained_active",)),
    Figure("l2_pct", ("lts__throughput.avg.pct_of_peak_sustained_elapsed",)),
    Figure("l1_hit_pct", ("l1tex__t_sector_hit_rate.pct",)),
    Figure("l2_hit_pct", ("lts__t_sector_hit_rate.pct",)),
    Figure("mem_busy_pct", (ACCESS,)),
    Figure("max_bandwidth_pct", (REQUEST,)),
    Figure("dram_bytes_per_s", (TRAFFIC_RATE,)),
    Figure("achieved_occupancy_pct", ("sm__warps_active.avg.pct_of_peak_sustained_active",)),
    Figure("theoretical_occupancy_pct", ("sm__maximum_warps_per_active_cycle_pct",)),
    Figure("waves_per_sm", (WAVES,)),
    Figure("sm_count", SM_COUNT),
    Figure("blocks", (GRID_SIZE,)),
    Figure("sectors_per_load", (_PER_REQUEST.format("ld"),)),
    Figure("sectors_per_store", (_PER_REQUEST.format("st"),)),
)
"""What is read of every launch, beside `dram_bytes`, which may need two metrics."""

READ_HERE = frozenset(
    {name for figure in FIGURES for name in figure.metrics}
    | {READ, WRITTEN, TRAFFIC, READ_RATE, WRITTEN_RATE, READ_SECTORS, WRITTEN_SECTORS, BYTES_A_CYCLE, DRAM_CLOCK}
    | {f"{unit}{part}.sum" for unit in (L1, L2) for part in ("", "_lookup_hit", "_lookup_miss")}
    | {name.format(op) for name in _OF_REQUESTS for op in ("ld", "st")}
    | {*LIMITS, BARRIERS}
)  # fmt: skip


def is_figure(name: str) -> bool:
    """Whether this module reads the metric."""
    return name in READ_HERE or _STALL.fullmatch(name) is not None


def figures(launch: Launch) -> dict[str, Value]:
    """Every figure of `FIGURES` and `dram_bytes`; null with the metrics that are missing."""
    found = {figure.name: _first(launch, figure.metrics) for figure in FIGURES}
    found["dram_bytes"] = dram_bytes(launch)
    for name, derive in _DERIVED.items():
        if found[name].value is None:
            value = derive(launch, found)
            found[name] = found[name] if value is None else value
    return found


def stalls(launch: Launch) -> dict[str, float]:
    """Reason → warps that it kept from issuing, per instruction issued; the highest first."""
    found = {match["reason"]: value for name, value in launch.metrics.items() if (match := _STALL.fullmatch(name))}
    kept = ((reason, value) for reason, value in found.items() if reason != SELECTED and value > 0)
    return dict(sorted(kept, key=lambda item: (-item[1], item[0])))


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
    if READ_SECTORS in metrics and WRITTEN_SECTORS in metrics:
        sectors = metrics[READ_SECTORS] + metrics[WRITTEN_SECTORS]
        return Value(value=sectors * SECTOR_BYTES, derived=f"{READ_SECTORS} and {WRITTEN_SECTORS}")
    if TRAFFIC_RATE in metrics and DURATION in metrics:
        return Value(value=metrics[TRAFFIC_RATE] * metrics[DURATION] * 1e-9)
    return missing((f"{READ} with {WRITTEN}", TRAFFIC, f"{TRAFFIC_RATE} with {DURATION}"))


Found = dict[str, Value]


def _dram_rate(launch: Launch, found: Found) -> Value | None:
    metrics = launch.metrics
    if READ_RATE in metrics and WRITTEN_RATE in metrics:
        return Value(value=metrics[READ_RATE] + metrics[WRITTEN_RATE], derived=f"{READ_RATE} and {WRITTEN_RATE}")
    moved, nanoseconds = found["dram_bytes"].value, found["duration_ns"].value
    if moved is None or not nanoseconds:
        return None
    return Value(value=moved / (nanoseconds * 1e-9), derived="bytes of DRAM traffic and the duration")


def _dram_pct(launch: Launch, found: Found) -> Value | None:
    """Of what DRAM could move at the memory clock that was measured."""
    rate = found["dram_bytes_per_s"].value
    peak = launch.metrics.get(BYTES_A_CYCLE, 0.0) * launch.metrics.get(DRAM_CLOCK, 0.0)
    if rate is None or not peak:
        return None
    return Value(value=100 * rate / peak, derived=f"DRAM bandwidth, {BYTES_A_CYCLE} and {DRAM_CLOCK}")


def _memory_pct(launch: Launch, found: Found) -> Value | None:
    """ncu's memory throughput is the higher of its two parts."""
    if ACCESS in launch.metrics and REQUEST in launch.metrics:
        value = max(launch.metrics[ACCESS], launch.metrics[REQUEST])
        return Value(value=value, derived=f"{ACCESS} and {REQUEST}")
    return None


def _hit_rate(unit: str) -> Callable[[Launch, Found], Value | None]:
    def derive(launch: Launch, found: Found) -> Value | None:
        every, hit, miss = (launch.metrics.get(f"{unit}{part}.sum") for part in ("", "_lookup_hit", "_lookup_miss"))
        # ncu divides by all sectors; hits and misses add up to a little more or less than those.
        looked_up = every if every is not None or hit is None or miss is None else hit + miss
        if hit is None or not looked_up:
            return None
        share = 100 * hit / looked_up
        # Hits and sectors that were counted in different passes need not fit together.
        return Value(value=share, derived=f"sectors of {unit}") if share <= 100 else None

    return derive


def _per_request(operation: str) -> Callable[[Launch, Found], Value | None]:
    def derive(launch: Launch, found: Found) -> Value | None:
        sectors, requests = (launch.metrics.get(name.format(operation)) for name in _OF_REQUESTS)
        if sectors is None or requests is None:
            return None
        if not requests:
            return Value(value=None, reason="the kernel made no such request")
        return Value(value=sectors / requests, derived="sectors and requests")

    return derive


def _sm_count(launch: Launch, found: Found) -> Value | None:
    gpu = find_gpu(launch.gpu or "")
    if gpu is None or gpu.sm_count is None:
        return None
    return Value(value=gpu.sm_count, derived=f"catalogue, {gpu.title}")


def _blocks(launch: Launch, found: Found) -> Value | None:
    sizes = [int(text) for text in re.findall(r"\d+", launch.grid)]
    return Value(value=math.prod(sizes), derived="grid") if len(sizes) == 3 else None


def _waves(launch: Launch, found: Found) -> Value | None:
    """Blocks of the grid over the blocks that all multiprocessors hold at once."""
    blocks, processors = found["blocks"].value, found["sm_count"].value
    limits = [launch.metrics.get(name) for name in LIMITS]
    if blocks is None or not processors or any(limit is None for limit in limits):
        return None
    resident = min(limit for limit in (*limits, launch.metrics.get(BARRIERS)) if limit is not None)
    if resident < 1:
        return None
    return Value(value=blocks / (processors * resident), derived="grid, multiprocessors and occupancy limits")


# In this order: later ones use earlier ones.
_DERIVED: dict[str, Callable[[Launch, Found], Value | None]] = {
    "dram_bytes_per_s": _dram_rate,
    "dram_pct": _dram_pct,
    "memory_pct": _memory_pct,
    "l1_hit_pct": _hit_rate(L1),
    "l2_hit_pct": _hit_rate(L2),
    "sm_count": _sm_count,
    "blocks": _blocks,
    "waves_per_sm": _waves,
    "sectors_per_load": _per_request("ld"),
    "sectors_per_store": _per_request("st"),
}
