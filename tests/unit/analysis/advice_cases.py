"""For every rule of advice: records in which its figure is what a test wants, and records on which it is silent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llm_perf_opt.analysis.advice.evidence import Evidence, Piece
from llm_perf_opt.analysis.static.generation import generation_cost
from llm_perf_opt.config.schema import Config
from llm_perf_opt.records.advice import Advice
from llm_perf_opt.records.device_timeline import (
    CategoryTime,
    DeviceTime,
    DeviceTimeline,
    FileFacts,
    GraphCounts,
    LaunchStatistics,
)
from llm_perf_opt.records.metrics import Metric, Metrics
from llm_perf_opt.records.tools import NsysCapture, NsysFacts, NsysReport
from llm_perf_opt.records.workload import Compilation, GraphBreak, Instrumented, Recompiled
from llm_perf_opt.workload.adapter import find_adapter
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


def compiled(device: str = "cuda:0", **changes: Any) -> Evidence:
    """70 ms of timed repeats, 1,000 graphs."""
    values: dict[str, Any] = {
        "graphs": 1000, "compile_s": 9.0, "breaks": (), "cuda_graphs_skipped": 0, "late_graphs": 0, "late": (),
    }  # fmt: skip
    on = records.workload().device.model_copy(update={"device": device})
    return evidence(records.workload(compilation=Compilation(**values | changes), device=on))


def late(share: float) -> Evidence:
    again = Recompiled(function="forward", reason="tensor 'x' size mismatch", seconds=0.070 * share)
    return compiled(late_graphs=1, late=(again,))


def broken(share: float) -> Evidence:
    return compiled(breaks=(GraphBreak(reason="Unsupported Tensor.item() call", count=round(1000 * share)),))


def exposed(what: str, share: float, whole: int = 10_000) -> Evidence:
    """Of 100,000 ns."""
    return evidence(timeline(device(100_000, **{f"{what}_ns": whole, f"exposed_{what}_ns": round(whole * share)})))


def kernels(share: float, category: str = "softmax") -> Evidence:
    of = {"GEMM": 10_000 - round(10_000 * share), category: round(10_000 * share)}
    rows = (CategoryTime(device=0, category=name, kernels=1, total_ns=ns, share=ns / 10_000) for name, ns in of.items())
    return evidence(timeline(device(), categories=tuple(rows)))


DEMO = find_adapter("demo").model_config(Config())


def beyond(share: float) -> Evidence:
    """A vision encoder that takes so much more of prefill than of its FLOPs, beside a prompt long enough for that."""
    for tokens in (round(600 * 1.5**power) for power in range(24)):
        batch = records.batch(prompt_tokens=(tokens,), padded_tokens=tokens, views=(((1024, 1024),),))
        workload = records.workload(batch, model=records.model(config=DEMO, dtype="float32"))
        cost = generation_cost(DEMO, prompt_tokens=(tokens,), new_tokens=1, views=[(1024, 1024)], dtype="float32")
        assert cost.vision is not None
        taken = cost.vision.flops / cost.prefill.flops / (1 - share)
        if 0.2 <= taken < 1:
            times = (records.module_time("sam", "prefill", 100 * taken),)
            return evidence(workload, Instrumented(prefill_ms=100.0, modules=times))
    raise AssertionError(share)


def padded(ratio: float) -> Evidence:
    batch = records.batch(prompt_tokens=(1000,), padded_tokens=round(1000 * ratio))
    return evidence(records.workload(batch))


def held_back(share: float, **changes: Any) -> Evidence:
    return evidence(records.workload(), records.hardware(clock_events={"sw_power_cap": share}, **changes))


def first_repeat(ratio: float, later: int = 3) -> Evidence:
    repeats = [records.repeat(e2e_ms=70.0 * ratio), *[records.repeat()] * later]
    return evidence(records.workload(records.batch(*repeats)))


def captured(share: float, graphs: int = 0) -> Evidence:
    """A hundred reports."""
    values: dict[str, Any] = {
        "exporter_version": None, "kernel_ns": 0, "runtime_calls": 0, "nvtx_events": 0, "nvtx_ranges": (),
        "nvtx_ranges_left_out": 0, "processes": (), "duration_ns": None, "diagnostics": (),
    }  # fmt: skip
    held = [NsysFacts(kernels=int(at >= 100 * share), graph_launches=graphs, **values) for at in range(100)]
    reports = tuple(NsysReport(name=f"run.{at}", facts=facts) for at, facts in enumerate(held))
    capture = NsysCapture(tool=None, trigger=None, device=None, reports=reports, kernels=(), kernels_left_out=0)
    return evidence(capture)


def looking(share: float) -> Evidence:
    return evidence(records.workload(records.batch(records.repeat(host_sync_ms=20.0 * share))))


def slow(share: float, fast: int = 100) -> Evidence:
    """One step beside so many of a millisecond."""
    steps = (*[1.0] * fast, share * fast / (1 - share))
    return evidence(records.workload(records.batch(records.repeat(step_ms=steps, decode_ms=sum(steps), e2e_ms=1e4))))


MADE: dict[str, Made] = {
    "vision-dominates-prefill": Made(vision, no_vision()),
    "host-bound": Made(host, host_of_a_busy_device()),
    "far-from-bandwidth": Made(
        lambda beyond: evidence(records.workload(), metric("decode.mbu", 1 - beyond)),
        evidence(records.workload(), metric("decode.mbu", None)),
    ),
    "compiled-in-timed-repeats": Made(late, compiled()),
    "graph-breaks": Made(broken, compiled()),
    "cuda-graphs-skipped": Made(
        lambda share: compiled(cuda_graphs_skipped=round(1000 * share)), compiled("cpu", cuda_graphs_skipped=1000)
    ),
    "exposed-communication": Made(
        lambda share: exposed("communication", share), exposed("communication", 1.0, whole=1000)
    ),
    "exposed-copies": Made(lambda share: exposed("copy", share), exposed("copy", 1.0, whole=1000)),
    "unfused-work": Made(kernels, kernels(1.0, category="attention")),
    "part-beyond-its-flops": Made(beyond, no_vision()),
    "padding": Made(padded, evidence(records.workload(records.batch()))),
    "throttled": Made(held_back, held_back(1.0, throttled=False)),
    "warm-up-not-settled": Made(first_repeat, first_repeat(9.0, later=1)),
    "empty-capture": Made(captured, captured(1.0, graphs=1)),
    "host-sync": Made(looking, evidence(records.workload(records.batch(records.repeat(decode_ms=None, step_ms=()))))),
    "slow-steps": Made(slow, slow(0.9, fast=2)),
}
"""By the name of the rule."""


def of_rule(found: tuple[Advice, ...], name: str) -> Advice | None:
    return next((advice for advice in found if advice.rule == name), None)
