"""For every rule of advice: records in which its figure is what a test wants, and records on which it is silent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llm_perf_opt.analysis.advice.evidence import Evidence, Piece
from llm_perf_opt.config.schema import Config
from llm_perf_opt.records.advice import Advice
from llm_perf_opt.records.device_timeline import DeviceTime, DeviceTimeline, FileFacts, GraphCounts, LaunchStatistics
from llm_perf_opt.records.metrics import Metric, Metrics
from llm_perf_opt.records.workload import Instrumented
from tests import records

STAGE = "torch_profiler"


@dataclass(frozen=True)
class Made:
    """Hand-made records for one rule."""

    with_figure: Callable[[float], Evidence]
    """Records in which the rule's figure is this."""
    silent: Evidence
    """Records of the same kind in which the rule must not fire, however large its figure."""


def evidence(*kept: Any, config: Config | None = None) -> Evidence:
    """Records of one stage."""
    return Evidence(tuple(Piece(STAGE, f"{STAGE}/record.json", record) for record in kept), config)


def vision(share: float) -> Evidence:
    times = (records.module_time("sam", "prefill", 100 * share), records.module_time("lm_head", "prefill", 1.0))
    return evidence(records.workload(), Instrumented(prefill_ms=100.0, modules=times))


def no_vision() -> Evidence:
    times = (records.module_time("decoder.layers", "prefill", 90.0),)
    return evidence(records.workload(), Instrumented(prefill_ms=100.0, modules=times))


def device(wall: int = 1000, **changes: Any) -> DeviceTime:
    """Busy for 300 of 1,000 ns, waiting for nothing in particular in the others."""
    values: dict[str, Any] = {
        "wall_ns": wall, "busy_ns": 300, "compute_ns": 300, "communication_ns": 0, "exposed_communication_ns": 0,
        "copy_ns": 0, "exposed_copy_ns": 0, "idle_ns": 700, "idle_by_cause": {"dependency": 700},
        "device": 0, "gpu": None, "process": None, "ordinal": 0, "name": None, "start_ns": 0, "kernels": 10,
        "kernel_ns": 300, "graphs": 0, "graph_ns": 0, "copies": 0, "streams": 1, "concurrent_ns": 0, "gaps": None,
        "launches": LaunchStatistics(
            launches=10, latency_median_ns=None, latency_p95_ns=None, latency_launches=0, queued_mean=0, queued_most=0
        ),
    }  # fmt: skip
    return DeviceTime(**values | changes)


def timeline(*devices: DeviceTime, **changes: Any) -> DeviceTimeline:
    values: dict[str, Any] = {
        "source": "a trace", "answer": "", "devices": devices, "phases": (), "phase_host_ns": {}, "steps": (),
        "facts": FileFacts(
            tool=None, tool_version=None, driver=None, cuda=None, command=(), rank=None, world_size=None
        ),
        "gaps": (), "waited_for": (), "categories": (), "copies": (), "kernels": (), "kernels_left_out": 0,
        "operators": (), "operators_left_out": 0, "ranges": (), "ranges_left_out": 0, "attributed_device_ns": 0,
        "unattributed": (), "distrusted": (), "graphs": GraphCounts(whole=0, kernels=0), "notes": (),
    }  # fmt: skip
    return DeviceTimeline(**values | changes)


def host(share: float) -> Evidence:
    late = round(700 * share)
    return evidence(timeline(device(idle_by_cause={"host_operator": late, "dependency": 700 - late})))


def host_of_a_busy_device() -> Evidence:
    return evidence(timeline(device(busy_ns=900, idle_ns=100, idle_by_cause={"host_operator": 100})))


def metric(name: str, value: float | None) -> Metrics:
    made = Metric(unit="ratio", n=1, median=value, note="against a made-up GPU", reason=None if value else "unknown")
    return Metrics(stage=STAGE, work_fingerprint=None, metrics={name: made})


MADE: dict[str, Made] = {
    "vision-dominates-prefill": Made(vision, no_vision()),
    "host-bound": Made(host, host_of_a_busy_device()),
    "far-from-bandwidth": Made(
        lambda beyond: evidence(records.workload(), metric("decode.mbu", 1 - beyond)),
        evidence(records.workload(), metric("decode.mbu", None)),
    ),
}
"""By the name of the rule."""


def of_rule(found: tuple[Advice, ...], name: str) -> Advice | None:
    return next((advice for advice in found if advice.rule == name), None)
