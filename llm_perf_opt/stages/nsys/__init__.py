"""Nsight Systems around the workload: capture, export to SQLite, and a verdict from what the reports hold."""

from __future__ import annotations

from llm_perf_opt.artifacts.layout import DRILL_DOWN, FACTS, TIMELINE
from llm_perf_opt.stages.base import Stage
from llm_perf_opt.stages.nsys.settings import Nsys

STAGE = Stage(
    settings=Nsys,
    records={
        FACTS: "llm_perf_opt.records.tools:NsysCapture",
        TIMELINE: "llm_perf_opt.records.device_timeline:DeviceTimeline",
        DRILL_DOWN: "llm_perf_opt.records.drill_down:DrillDown",
    },
    short="nsys",
    needs=lambda _, config: "nothing" if config.pipeline.workload.foreign else "samples",
    planner="llm_perf_opt.stages.nsys.execute:plan",
    execute="llm_perf_opt.stages.nsys.execute:execute",
)
