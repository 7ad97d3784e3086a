"""The timed repeats and the outputs alone."""

from __future__ import annotations

from pydantic import Field

from llm_perf_opt.artifacts.layout import ELSEWHERE, LAUNCHES, PEAKS, TOKENS, WORKLOAD
from llm_perf_opt.config.base import Output, TimedSettings
from llm_perf_opt.stages.base import Stage


class DirectInference(TimedSettings):
    """The timed repeats and the outputs alone."""

    enable: bool = False
    """Run this stage."""
    output: Output = Field(default_factory=Output)
    """What the stage leaves behind."""


STAGE = Stage(
    settings=DirectInference,
    records={
        PEAKS: "llm_perf_opt.records.peaks:MeasuredPeaks",
        WORKLOAD: "llm_perf_opt.records.workload:Workload",
        TOKENS: "llm_perf_opt.records.launches:Tokens",
        LAUNCHES: "llm_perf_opt.records.launches:Launches",
        ELSEWHERE: "llm_perf_opt.records.elsewhere:Elsewhere",
    },
    short="infer",
    planner="llm_perf_opt.stages.timed:plan_timed",
    execute="llm_perf_opt.stages.timed:run_timed",
)
