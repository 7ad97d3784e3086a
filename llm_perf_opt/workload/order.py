"""The work order: the one thing a child reads, with the whole resolved configuration in it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from llm_perf_opt.config.base import Output
from llm_perf_opt.config.schema import Config
from llm_perf_opt.records.base import Record
from llm_perf_opt.records.inputs import Inputs
from llm_perf_opt.records.launches import Place

PYTHON = "python"
STEADY_STEP = "steady_decode_step"
"""Name of the range that `Capture.steady_step` asks for."""


class Capture(Record):
    """What a child does for the tool that watches it; its own profilers are off, and its times are never reported."""

    profiler_api: Literal["measured", "steady_step"] | None = None
    """Call cudaProfilerStart and -Stop around the timed repeats, or around the steady step."""
    steady_step: bool = False
    """Put the middle decode step of every generation into a range of its own, `STEADY_STEP`."""
    needs_ranges: bool = False
    """Without NVTX ranges the tool would capture nothing."""


class WorkOrder(Record):
    """What one child does and where it writes."""

    schema_version: Literal[1] = 1
    stage: str
    """The stage it works for."""
    launch: Place | None = None
    """Null for a child whose times are never reported."""
    config: Config
    inputs: Inputs
    scratch_dir: Path
    """Order, events and log of the child."""
    output_dir: Path
    """Records, tables and trace."""
    prediction_dir: Path | None = None
    """Null writes no predictions."""
    visualization_dir: Path | None = None
    """Null writes no gallery."""
    output: Output | None = None
    """What the outputs are like; null writes none."""
    timings_only: bool = True
    """Whether the stage does nothing but time, in this launch or another."""
    timed: bool = True
    """Make the timed repeats."""
    part: str | None = None
    """`module:function` of the stage's own part, done last."""
    observers: dict[str, str] = Field(default_factory=dict)
    """Observer → `module:function` of its watch over the timed repeats."""
    capture: Capture | None = None
    """Set for a child under nsys or ncu."""


def child_argv(order_path: Path, prefix: Sequence[str] = ()) -> list[str]:
    """Command that carries out the order; nsys and ncu wrap this same one.

    Args:
        prefix: what the command begins with; its `python` is then looked up by name, so that the prefix may bring
            another environment.
    """
    python = PYTHON if prefix else sys.executable
    return [*prefix, python, "-m", "llm_perf_opt.workload", str(order_path)]
