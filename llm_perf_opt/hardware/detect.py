"""Which NVIDIA GPUs this machine has, asked of the driver through NVML (no CUDA, no torch)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from llm_perf_opt.hardware.catalogue import find_gpu
from llm_perf_opt.hardware.nvml import Nvml, NvmlUnavailable, load_nvml, opened, why_not
from llm_perf_opt.records.hardware import DetectedGpu, GpuInventory

T = TypeVar("T")


def detect_gpus(load: Callable[[], Nvml] = load_nvml) -> GpuInventory:
    """The GPUs the driver lists, or none and the reason; never raises for a machine without them."""
    try:
        nvml = load()
        with opened(nvml):
            try:
                return _inventory(nvml)
            except nvml.NVMLError as error:  # a GPU that has fallen off the bus answers nothing at all
                return GpuInventory(none_because=why_not(error))
    except NvmlUnavailable as unavailable:
        return GpuInventory(none_because=str(unavailable))


def _inventory(nvml: Nvml) -> GpuInventory:
    gpus = tuple(_describe(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
    cuda = _answer(nvml, nvml.nvmlSystemGetCudaDriverVersion_v2)
    return GpuInventory(
        gpus=gpus,
        driver_version=nvml.nvmlSystemGetDriverVersion(),
        # 13020 is CUDA 13.2: https://docs.nvidia.com/deploy/nvml-api/group__nvmlSystemQueries.html
        cuda_driver_version=f"{cuda // 1000}.{cuda % 1000 // 10}" if cuda is not None else None,
        none_because=None if gpus else "the NVIDIA driver lists no GPU",
    )


def _describe(nvml: Nvml, index: int) -> DetectedGpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    name = nvml.nvmlDeviceGetName(handle)
    memory: Any = _answer(nvml, lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
    capability = _answer(nvml, lambda: nvml.nvmlDeviceGetCudaComputeCapability(handle))
    mig = _answer(nvml, lambda: nvml.nvmlDeviceGetMigMode(handle))
    mig_enabled = None if mig is None else bool(mig[0])
    known = None if mig_enabled else find_gpu(name)
    reason = None
    if mig_enabled:
        reason = "MIG is on: a slice has a fraction of the GPU's units and bandwidth"
    elif known is None:
        reason = f"no catalogue entry is named {name!r}"
    return DetectedGpu(
        index=index,
        name=name,
        uuid=nvml.nvmlDeviceGetUUID(handle),
        memory_total_bytes=None if memory is None else int(memory.total),
        compute_capability=None if capability is None else f"{capability[0]}.{capability[1]}",
        mig_enabled=mig_enabled,
        catalogue_id=known.id if known else None,
        catalogue_reason=reason,
    )


def _answer(nvml: Nvml, ask: Callable[[], T]) -> T | None:
    """What the driver answers, or None where this GPU has no answer."""
    try:
        return ask()
    except nvml.NVMLError:
        return None
