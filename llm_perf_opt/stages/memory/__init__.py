"""What the peak of memory is made of: one pass of its own in a child, never a timed repeat."""

from __future__ import annotations

from llm_perf_opt.artifacts.layout import MEMORY
from llm_perf_opt.config.base import StageSettings
from llm_perf_opt.stages.base import Stage


class MemoryStage(StageSettings):
    """What the memory peak is made of: weights, buffers, cache, inputs and the rest, by live storages."""

    enable: bool = False
    """Run this stage."""


STAGE = Stage(
    settings=MemoryStage,
    records={MEMORY: "llm_perf_opt.records.memory:MemoryPeak"},
    short="memory",
    planner="llm_perf_opt.stages.memory.execute:plan",
    execute="llm_perf_opt.stages.memory.execute:execute",
)
