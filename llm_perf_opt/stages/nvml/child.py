"""Sampling the GPU that the model runs on, in the child."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.artifacts.layout import HARDWARE, HARDWARE_SERIES
from llm_perf_opt.hardware.sampler import HardwareSampler
from llm_perf_opt.stages.nvml import Nvml
from llm_perf_opt.workload.watching import PhaseSpan, WatchContext


class GpuWatch:
    """One sampler and where it leaves what it saw."""

    def __init__(self, sampler: HardwareSampler, output_dir: Path) -> None:
        self._sampler = sampler
        self._output_dir = output_dir

    def start(self) -> None:
        self._sampler.start()

    def stop(self, spans: Sequence[PhaseSpan]) -> None:
        self._sampler.stop()
        state = self._sampler.state(spans)
        write_text(self._output_dir / HARDWARE, state.model_dump_json(indent=2) + "\n")
        if state.recorded:
            self._sampler.series().write(self._output_dir / HARDWARE_SERIES)


def watch(context: WatchContext[Nvml]) -> GpuWatch:
    sampler = HardwareSampler(_gpu_uuid(context.device), interval_s=context.settings.interval_ms / 1e3)
    context.in_the_middle(lambda: sampler.mark("middle"))
    return GpuWatch(sampler, context.output_dir)


def _gpu_uuid(device: torch.device) -> str | None:
    return str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" else None
