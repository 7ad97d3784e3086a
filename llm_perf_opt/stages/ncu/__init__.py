"""Nsight Compute around the workload: counters of a few kernels or ranges, and a verdict from what was profiled."""

from __future__ import annotations

from llm_perf_opt.artifacts.layout import FACTS, REGION, REGIONS
from llm_perf_opt.stages.base import Stage
from llm_perf_opt.stages.ncu.settings import Ncu

STAGE = Stage(
    settings=Ncu,
    records={
        FACTS: "llm_perf_opt.records.tools:NcuCapture",
        f"{REGIONS}/*/{REGION}": "llm_perf_opt.records.tools:NcuRegion",
    },
    short="ncu",
    needs=lambda _, config: "nothing" if config.pipeline.workload.foreign else "samples",
    planner="llm_perf_opt.stages.ncu.request:plan",
    execute="llm_perf_opt.stages.ncu.execute:execute",
)
