"""NVML: clocks, power, temperature and energy of the GPU while repeats are timed."""

from __future__ import annotations

from typing import Literal

from llm_perf_opt.artifacts.layout import HARDWARE, HARDWARE_SERIES
from llm_perf_opt.config.base import Count, StageSettings
from llm_perf_opt.stages.base import Observer


class Nvml(StageSettings):
    """NVML watches the GPU during the timed repeats: clocks, power, temperature, throttling, energy."""

    enable: bool | Literal["auto"] = "auto"
    """Watch; auto watches where there is an NVIDIA GPU and records why not where there is none."""
    interval_ms: Count = 100
    """Time between two samples, milliseconds."""


STAGE = Observer(
    settings=Nvml,
    records={
        HARDWARE: "llm_perf_opt.records.hardware:HardwareState",
        HARDWARE_SERIES: "llm_perf_opt.records.hardware:HardwareSeries",
    },
    short="nvml",
    watch="llm_perf_opt.stages.nvml.child:watch",
)
