"""What hardware there is, and what it did while we measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from llm_perf_opt.records.base import Record


class DetectedGpu(Record):
    """One GPU as its driver describes it."""

    index: int
    """NVML's index; CUDA's may differ (CUDA_VISIBLE_DEVICES, CUDA_DEVICE_ORDER), so match by uuid."""
    name: str
    uuid: str
    memory_total_bytes: int | None
    """Null where the GPU has no memory of its own to report (unified memory)."""
    compute_capability: str | None
    mig_enabled: bool | None
    """Null where the GPU knows no MIG. When true no figure of the catalogue applies: a slice is not the GPU."""
    catalogue_id: str | None
    """Entry of the GPU catalogue with exactly this name."""
    catalogue_reason: str | None
    """Why `catalogue_id` is null."""


class GpuInventory(Record):
    """The NVIDIA GPUs of a machine, or why none can be named."""

    schema_version: Literal[1] = 1
    gpus: tuple[DetectedGpu, ...] = ()
    driver_version: str | None = None
    cuda_driver_version: str | None = None
    """Newest CUDA the driver supports, major.minor."""
    none_because: str | None = None
    """Why `gpus` is empty."""


class Distribution(Record):
    """Samples of one quantity, summarised. The unit is in the name of the field that holds it."""

    n: int
    min: float
    median: float
    mean: float
    max: float


class GpuMoment(Record):
    """The GPU at one moment of the timed repeats; what it did not answer is null, and why in `unavailable`."""

    moment: Literal["start", "middle", "end"]
    at_s: float
    """The host's monotonic clock."""
    sm_clock_mhz: int | None
    memory_clock_mhz: int | None
    temperature_c: int | None
    power_limit_w: float | None
    """That the driver enforces."""
    throttle_reasons: tuple[str, ...] | None
    other_processes: int | None
    """That have a compute context on it, this one left out."""


class HardwareState(Record):
    """`hardware.json`: clocks, power, temperature and memory of one GPU while something was timed.

    Clock events are named as NVML names them (https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html).
    """

    schema_version: Literal[1] = 1
    recorded: bool
    reason: str | None
    """Why nothing was recorded."""
    gpu_name: str | None = None
    gpu_uuid: str | None = None
    interval_ms: float | None = None
    """Time asked for between samples."""
    duration_ms: float | None = None
    """First sample to last."""
    sm_clock_mhz: Distribution | None = None
    memory_clock_mhz: Distribution | None = None
    power_w: Distribution | None = None
    temperature_c: Distribution | None = None
    memory_used_bytes: Distribution | None = None
    """Of the whole GPU, other processes included."""
    clock_events: dict[str, float] = Field(default_factory=dict)
    """Reasons why clocks were below their maximum: name → fraction of samples in which it was active."""
    throttled: bool | None = None
    """Whether power, heat or another GPU held the clocks down in any sample; idling and chosen clocks do not count."""
    throttle_reasons: tuple[str, ...] = ()
    """The clock events that make it throttled."""
    moments: tuple[GpuMoment, ...] = ()
    """At the start, in the middle and at the end; empty in runs of llmperf 0.2 and before."""
    energy_j: float | None = None
    """Energy of the whole GPU from first sample to last."""
    energy_method: Literal["energy_counter", "integrated_power"] | None = None
    """The GPU's own counter, or the power samples integrated over time."""
    energy_by_phase_j: dict[str, float] = Field(default_factory=dict)
    """Of it, in `preprocess`, `prefill` and `decode` of all timed repeats, and `between` them."""
    unavailable: dict[str, str] = Field(default_factory=dict)
    """Field → why the GPU did not answer for it."""

    def energy_per_token_j(self, tokens: int) -> float | None:
        """Joules per generated token, idle and prefill energy included; None where unknown."""
        return self.energy_j / tokens if self.energy_j is not None and tokens > 0 else None


SERIES_UNITS = {
    "at_s": "seconds, the host's monotonic clock",
    "sm_clock_mhz": "MHz",
    "memory_clock_mhz": "MHz",
    "power_w": "W",
    "temperature_c": "°C",
    "memory_used_bytes": "bytes, of the whole GPU, other processes included",
    "clock_events": "bits of nvmlClocksEventReasons",
    "energy_mj": "mJ since the driver was loaded",
}
"""Columns of `hardware_series.parquet`."""


@dataclass(frozen=True)
class HardwareSeries:
    """`hardware_series.parquet`: every sample; null where the GPU did not answer."""

    columns: dict[str, list[Any]]
    """By the names of `SERIES_UNITS`."""

    def write(self, path: Path) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        def column(name: str) -> pa.Field:
            kind = pa.float64() if name in ("at_s", "power_w") else pa.int64()
            return pa.field(name, kind, metadata={"unit": SERIES_UNITS[name]})

        schema = pa.schema([column(name) for name in SERIES_UNITS])
        parquet.write_table(pa.table(self.columns, schema=schema), path)

    @classmethod
    def read(cls, path: Path) -> HardwareSeries:
        from pyarrow import parquet

        return cls(parquet.read_table(path).to_pydict())
