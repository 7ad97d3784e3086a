"""Timed repeats without a profiler, then one sample under the PyTorch profiler."""

from __future__ import annotations

from llm_perf_opt.artifacts.layout import (
    DRILL_DOWN,
    ELSEWHERE,
    LAUNCHES,
    MODULES,
    PEAKS,
    PROFILE,
    TABLES,
    TIMELINE,
    TOKENS,
    WORKLOAD,
)
from llm_perf_opt.stages.base import Stage
from llm_perf_opt.stages.torch_profiler.settings import TorchProfiler

STAGE = Stage(
    settings=TorchProfiler,
    records={
        PEAKS: "llm_perf_opt.records.peaks:MeasuredPeaks",
        WORKLOAD: "llm_perf_opt.records.workload:Workload",
        MODULES: "llm_perf_opt.records.workload:Instrumented",
        PROFILE: "llm_perf_opt.records.workload:Profile",
        TABLES: "llm_perf_opt.records.tables:ProfileTables",
        TIMELINE: "llm_perf_opt.records.device_timeline:DeviceTimeline",
        DRILL_DOWN: "llm_perf_opt.records.drill_down:DrillDown",
        TOKENS: "llm_perf_opt.records.launches:Tokens",
        LAUNCHES: "llm_perf_opt.records.launches:Launches",
        ELSEWHERE: "llm_perf_opt.records.elsewhere:Elsewhere",
    },
    short="torch",
    planner="llm_perf_opt.stages.torch_profiler.execute:plan",
    execute="llm_perf_opt.stages.torch_profiler.execute:execute",
)
