"""GPU, driver and NVML."""

from __future__ import annotations

from llm_perf_opt.hardware.doctor.finding import Finding, Surroundings
from llm_perf_opt.records.hardware import DetectedGpu

_INSTALL = "on a machine with an NVIDIA GPU install its driver: https://www.nvidia.com/drivers"
_NO_CLOCKS = "clocks and power stay 'not recorded'"


def check_gpu(surroundings: Surroundings) -> tuple[Finding, ...]:
    """The driver, NVML in front of it, and each GPU it lists."""
    inventory = surroundings.gpus
    if inventory.driver_version is None:
        return _without_driver(inventory.none_because or "NVML does not answer")
    cuda = inventory.cuda_driver_version
    driver = Finding("driver", "ok", inventory.driver_version + (f", up to CUDA {cuda}" if cuda else ""))
    nvml = Finding("nvml", "ok", "clocks, power and throttling can be recorded")
    if not inventory.gpus:
        none = inventory.none_because or "no GPU"
        return (driver, nvml, Finding("gpu", "missing", none, "in a container start it with --gpus all"))
    alone = len(inventory.gpus) == 1
    return (driver, nvml, *(_describe(gpu, alone=alone) for gpu in inventory.gpus))


def _without_driver(why: str) -> tuple[Finding, ...]:
    if "nvidia-ml-py" in why:
        return (
            Finding("driver", "unknown", "NVML would tell", "as for nvml"),
            Finding("nvml", "missing", why, f"install it (uv sync, or pip install nvidia-ml-py); else {_NO_CLOCKS}"),
            Finding("gpu", "unknown", "NVML would tell", "as for nvml"),
        )
    return (
        Finding("driver", "missing", why, _INSTALL),
        Finding("nvml", "missing", "needs the driver", f"as for driver; until then {_NO_CLOCKS}"),
        Finding("gpu", "missing", "needs the driver", "as for driver; until then runs use the CPU"),
    )


def _describe(gpu: DetectedGpu, *, alone: bool) -> Finding:
    name = "gpu" if alone else f"gpu:{gpu.index}"
    memory = "" if gpu.memory_total_bytes is None else f", {gpu.memory_total_bytes / 2**30:.0f} GiB"
    capability = "" if gpu.compute_capability is None else f", compute capability {gpu.compute_capability}"
    detail = f"{gpu.name}{memory}{capability}"
    if gpu.catalogue_id is not None:
        return Finding(name, "ok", f"{detail}; catalogue: {gpu.catalogue_id}")
    remedy = "MFU and MBU stay null; to have them set hardware.peak_tflops and hardware.memory_bandwidth_gbs"
    return Finding(name, "warn", f"{detail}; {gpu.catalogue_reason}", remedy)
