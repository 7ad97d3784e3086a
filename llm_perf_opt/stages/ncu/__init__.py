"""Nsight Compute around the workload: counters of a few kernels or ranges, and a verdict from what was profiled."""

from __future__ import annotations

from llm_perf_opt.stages.base import Stage
from llm_perf_opt.stages.ncu.execute import execute
from llm_perf_opt.stages.ncu.request import plan

STAGE = Stage(name="ncu", runs_model=True, planner=plan, execute=execute, wraps_workload=True)
