"""Settings of the PyTorch profiler's stage."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from llm_perf_opt.config.base import Count, NonNegative, Output, TimedSettings, inconsistent


class TorchProfiler(TimedSettings):
    """Timed repeats without a profiler, then one profiled sample: operators, kernels, trace."""

    ALIASES: ClassVar[dict[str, str]] = {"enabled": "enable"}

    enable: bool = True
    """Run this stage."""
    activities: Annotated[tuple[Literal["cpu", "cuda"], ...], Field(strict=False, min_length=1)] = (
        "cpu",
        "cuda",
    )
    """What to record; cuda is dropped with a note where there is none."""
    record_shapes: bool = False
    """Record operator input shapes."""
    profile_memory: bool = False
    """Record allocations."""
    with_stack: bool = False
    """Record Python stacks."""
    group_by_input_shape: bool = False
    """Tell operators apart by input shape; needs record_shapes."""
    warmup_rounds: NonNegative = 2
    """Untimed runs before the profiled sample."""
    warmup_synthetic: bool = True
    """Warm up on a synthetic sample instead of the first real one."""
    steps: Count | None = 16
    """Decode steps of the profiled sample, after its prefill; null profiles all, in gigabytes of host memory where they
    are a thousand."""
    output: Output = Field(default_factory=Output)
    """What the stage leaves behind beside its tables."""

    @model_validator(mode="after")
    def _consistent(self) -> TorchProfiler:
        if self.group_by_input_shape and not self.record_shapes:
            raise inconsistent("group_by_input_shape", "true needs record_shapes: true", "set record_shapes: true too")
        return self
