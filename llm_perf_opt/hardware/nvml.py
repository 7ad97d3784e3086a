"""The part of NVML we use, loaded only when asked for.

NVML only reads: opening it creates no CUDA context, so the parent process may use it too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast


class Nvml(Protocol):
    """Functions of the `pynvml` module (package nvidia-ml-py) as we call them; tests pass a stand-in."""

    NVMLError: type[Exception]
    NVML_CLOCK_SM: int
    NVML_CLOCK_MEM: int
    NVML_TEMPERATURE_GPU: int

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlSystemGetDriverVersion(self) -> str: ...
    def nvmlSystemGetCudaDriverVersion_v2(self) -> int: ...
    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any: ...
    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Any: ...
    def nvmlDeviceGetName(self, handle: Any) -> str: ...
    def nvmlDeviceGetUUID(self, handle: Any) -> str: ...
    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any: ...
    def nvmlDeviceGetCudaComputeCapability(self, handle: Any) -> tuple[int, int]: ...
    def nvmlDeviceGetMigMode(self, handle: Any) -> tuple[int, int]: ...
    def nvmlDeviceGetClockInfo(self, handle: Any, kind: int) -> int: ...
    def nvmlDeviceGetPowerUsage(self, handle: Any) -> int: ...
    def nvmlDeviceGetTemperature(self, handle: Any, sensor: int) -> int: ...
    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: Any) -> int: ...
    def nvmlDeviceGetEnforcedPowerLimit(self, handle: Any) -> int: ...
    def nvmlDeviceGetPowerManagementDefaultLimit(self, handle: Any) -> int: ...
    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> list[Any]: ...
    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any) -> int: ...


class NvmlUnavailable(Exception):
    """NVML cannot be used here; the text says why."""


def load_nvml() -> Nvml:
    """The `pynvml` module.

    Raises:
        NvmlUnavailable: the Python package is not installed.
    """
    try:
        import pynvml
    except ImportError as error:
        raise NvmlUnavailable("the Python package nvidia-ml-py is not installed") from error
    return cast(Nvml, pynvml)


@contextmanager
def opened(nvml: Nvml) -> Iterator[Nvml]:
    """NVML between init and shutdown.

    Raises:
        NvmlUnavailable: no NVIDIA driver, or one that does not answer.
    """
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise NvmlUnavailable(why_not(error)) from error
    try:
        yield nvml
    finally:
        nvml.nvmlShutdown()


def why_not(error: Exception) -> str:
    """An NVML error in a reader's words."""
    known = {
        "NVMLError_LibraryNotFound": "no NVIDIA driver is installed (libnvidia-ml.so.1 was not found)",
        "NVMLError_DriverNotLoaded": "the NVIDIA driver is installed but not loaded",
        "NVMLError_LibRmVersionMismatch": (
            "the NVIDIA driver was updated without a restart: its library and kernel module differ in version"
        ),
        "NVMLError_NoPermission": "no permission to talk to the NVIDIA driver",
        "NVMLError_NotSupported": "this GPU does not report it",
        "NVMLError_FunctionNotFound": "the NVIDIA driver is too old to report it",
        "NVMLError_GpuIsLost": "the GPU has fallen off the bus",
    }
    return known.get(type(error).__name__, f"NVML: {error}")
