"""Hand-made records: what a run could have left, without running anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llm_perf_opt.analysis.metrics import BatchCost, CostOf, Peaks, stage_metrics
from llm_perf_opt.config.schema import Config
from llm_perf_opt.records.environment import EnvironmentRecord
from llm_perf_opt.records.hardware import Distribution, GpuInventory, HardwareState
from llm_perf_opt.records.inputs import Inputs, Sample
from llm_perf_opt.records.manifest import Manifest, StageEntry
from llm_perf_opt.records.predictions import Prediction
from llm_perf_opt.records.workload import (
    BatchResult,
    DeviceFacts,
    Instrumented,
    Memory,
    ModelFacts,
    ModuleTime,
    PhaseMemory,
    Repeat,
    Workload,
)
from llm_perf_opt.reports.facts import Found, Launched, Measured, RunFacts, Setup

PEAKS = Peaks(1e12, 1e11, "a made-up GPU, dense float16")
NO_PEAKS = Peaks(None, None, "", "no peak is known for this device")


def repeat(**changes: Any) -> Repeat:
    """10 ms of preprocessing, 40 ms of prefill, then four steps of 5 ms: five tokens in 70 ms."""
    values: dict[str, Any] = {
        "preprocess_ms": 10.0,
        "ttft_ms": 50.0,
        "prefill_ms": 39.0,
        "decode_ms": 20.0,
        "step_ms": (5.0, 5.0, 5.0, 5.0),
        "host_sync_ms": 0.4,
        "e2e_ms": 70.0,
        "new_tokens": (5,),
    }
    return Repeat(**values | changes)


def batch(*repeats: Repeat, **changes: Any) -> BatchResult:
    values: dict[str, Any] = {
        "epoch": 0,
        "samples": (0,),
        "prompt_tokens": (100,),
        "padded_tokens": 100,
        "image_tokens": (0,),
        "repeats": repeats or (repeat(),),
    }
    return BatchResult(**values | changes)


def model(**changes: Any) -> ModelFacts:
    values: dict[str, Any] = {
        "adapter": "causal_lm",
        "model_type": "llama",
        "parameters": 1_000_000,
        "weight_bytes": 2_000_000,
        "dtype": "float16",
        "weights": "pretrained",
        "weights_id": "ab" * 32,
        "attention": "sdpa",
        "config": {},
    }
    return ModelFacts(**values | changes)


def workload(*batches: BatchResult, **changes: Any) -> Workload:
    values: dict[str, Any] = {
        "stage": "torch_profiler",
        "timings_only": False,
        "work_fingerprint": "cd" * 32,
        "model": model(),
        "device": DeviceFacts(
            device="cuda:0", name="A GPU", threads=1, torch_version="2.x", transformers_version="5.x", cuda_version="13"
        ),
        "execution": "eager",
        "cache": "dynamic",
        "load_s": 1.5,
        "warmup_runs": 1,
        "batches": batches or (batch(),),
        "memory": memory(),
    }
    return Workload(**values | changes)


def memory() -> Memory:
    phases = (
        PhaseMemory(phase="load", host_bytes=3 << 30, device_bytes=1 << 30),
        PhaseMemory(phase="timed repeats", host_bytes=2 << 30, device_bytes=5 << 30),
        PhaseMemory(phase="prefill", host_bytes=None, device_bytes=4 << 30),
    )
    return Memory(peak_bytes=5 << 30, source="CUDA allocator, timed repeats", phases=phases, host_reason="not here")


def hardware(**changes: Any) -> HardwareState:
    """A GPU that drew 300 W for two seconds."""
    values: dict[str, Any] = {
        "recorded": True,
        "reason": None,
        "gpu_name": "A GPU",
        "gpu_uuid": "GPU-1",
        "interval_ms": 100.0,
        "duration_ms": 2000.0,
        "sm_clock_mhz": Distribution(n=20, min=1200, median=1500, mean=1450, max=1600),
        "power_w": Distribution(n=20, min=250, median=300, mean=300, max=310),
        "memory_used_bytes": Distribution(n=20, min=5 << 30, median=6 << 30, mean=6 << 30, max=7 << 30),
        "clock_events": {"gpu_idle": 0.05, "sw_power_cap": 0.5},
        "throttled": True,
        "throttle_reasons": ("sw_power_cap",),
        "energy_j": 600.0,
        "energy_method": "energy_counter",
        "unavailable": {"temperature_c": "this GPU does not report it"},
    }
    return HardwareState(**values | changes)


def module_time(name: str, phase: Any, total_ms: float, within: str | None = None) -> ModuleTime:
    return ModuleTime(name=name, phase=phase, within=within, modules=2, calls=4, total_ms=total_ms)


def instrumented() -> Instrumented:
    return Instrumented(
        samples=(0,),
        prefill_ms=50.0,
        decode_ms=30.0,
        modules=(
            module_time("sam", "prefill", 20.0),
            module_time("projector", "prefill", 5.0),
            module_time("decoder.layers", "prefill", 10.0),
            module_time("decoder.attention", "prefill", 6.0, "decoder.layers"),
            module_time("decoder.mlp", "prefill", 3.0, "decoder.layers"),
            module_time("decoder.layers", "decode", 15.0),
        ),
        missing={"clip": "its forward was not called"},
    )


def work(prefill_flops: int = 10**10, decode_flops: int = 10**9, decode_least_bytes: int = 10**9) -> CostOf:
    """The same work for every batch."""
    return lambda _: BatchCost(prefill_flops, decode_flops, decode_least_bytes, 10**8)


NOT_WATCHED = HardwareState(recorded=False, reason="no NVIDIA GPU was used")


def measured(
    record: Workload,
    *predictions: Prediction,
    peaks: Peaks = PEAKS,
    gallery: str | None = None,
    hardware: HardwareState = NOT_WATCHED,
) -> Measured:
    launches = (Launched(0, record, hardware),)
    return Measured(launches, stage_metrics(record, hardware, work(), peaks), predictions, gallery)


def found(stage: str, record: Any) -> Found:
    """A record that a stage left."""
    return Found(stage, Path("/run") / stage / "record.json", record)


def facts(*found: Measured, **changes: Any) -> RunFacts:
    """A run with these measured stages."""
    stages = {item.workload.stage: StageEntry(status="completed") for item in found}
    values: dict[str, Any] = {
        "path": Path("/run"),
        "manifest": Manifest(
            llmperf_version="0", argv=("llmperf", "run"), created="2026-01-01T00:00:00Z", stages=stages
        ),
        "setup": Setup(
            config=Config(),
            environment=environment(),
            inputs=Inputs(
                samples=(Sample(kind="prompt", path=None, text="hi", size_bytes=2, sha256="0" * 64),), epochs=((0,),)
            ),
        ),
        "measured": {item.workload.stage: item for item in found},
    }
    return RunFacts(**values | changes)


def environment() -> EnvironmentRecord:
    return EnvironmentRecord(
        os="Linux",
        kernel="6",
        machine="x86_64",
        cpu_model="A CPU",
        cpu_logical_cores=2,
        cpu_available_cores=2,
        memory_total_bytes=1 << 34,
        python_version="3.11",
        python_implementation="CPython",
        libraries={},
        environment={},
        gpus=GpuInventory(none_because="there is none"),
    )
