"""Settings of Nsight Systems."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from llm_perf_opt.config.base import NonNegative, Positive, StageSettings, Strings, inconsistent

CAPTURE_RANGE_END = re.compile(
    r"none|stop|stop-shutdown|repeat(:[1-9]\d*)?(:(defer|sync|async))?|repeat-shutdown:[1-9]\d*(:(defer|sync|async))?"
)


class Nsys(StageSettings):
    """Nsight Systems: a timeline of the same workload."""

    enable: bool = False
    """Run this stage."""
    gating_nvtx: bool = True
    """Send the NVTX capture flags; false drops those only."""
    trace: str = "cuda,nvtx,osrt"
    """APIs to trace (`--trace`)."""
    sample: Literal["none", "process-tree", "system-wide"] = "none"
    """CPU sampling (`--sample`)."""
    capture_range: Literal["none", "nvtx", "cudaProfilerApi", "hotkey"] = "none"
    """What opens the capture (`--capture-range`)."""
    capture_range_end: str | None = None
    """What its end does: none, stop, stop-shutdown, repeat[:N], repeat-shutdown:N; null leaves the flag out."""
    nvtx_capture: str | None = None
    """The range that opens the capture: `range`, `range@domain` or `range@*`."""
    cuda_graph_trace: Literal["graph", "node"] | None = None
    """Trace CUDA graphs whole or node by node."""
    ranks: Literal["all"] | NonNegative | Annotated[tuple[NonNegative, ...], Field(strict=False, min_length=1)] = 0
    """Ranks of a sharded model that are captured, one report each: a number, a list, or all."""
    timeout_s: Positive | None = None
    """Stop the capture after this many seconds."""
    extra_args: Strings = ()
    """Further options, passed last as they are."""

    @field_validator("capture_range_end", "nvtx_capture", mode="after")
    @classmethod
    def _blank_is_null(cls, value: str | None) -> str | None:
        return value.strip() or None if value is not None else None

    @field_validator("capture_range_end", mode="after")
    @classmethod
    def _known_end(cls, value: str | None) -> str | None:
        if value is not None and not CAPTURE_RANGE_END.fullmatch(value):
            raise ValueError(
                "must be none, stop, stop-shutdown, repeat[:N][:defer|sync|async] "
                "or repeat-shutdown:N[:defer|sync|async]"
            )
        return value

    @field_validator("nvtx_capture", mode="after")
    @classmethod
    def _one_expression(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[^@]+(@[^@]+)?", value):
            raise ValueError("must be one expression: range, range@domain or range@*")
        return value

    @model_validator(mode="after")
    def _capture_has_a_trigger(self) -> Nsys:
        if self.capture_range == "nvtx" and self.gating_nvtx and self.nvtx_capture is None:
            raise inconsistent(
                "capture_range",
                "nvtx needs nvtx_capture, the range that opens the capture: without it nsys would capture nothing",
                "set pipeline.nsys.nvtx_capture, for example to decode",
            )
        return self
