"""Timed repeats, then in the same child the instrumented run and the profiled sample."""

from __future__ import annotations

from dataclasses import replace

from llm_perf_opt.plan.model import PlannedStage
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.stages.base import PlanContext, StageContext
from llm_perf_opt.stages.timed import plan_timed, run_timed
from llm_perf_opt.stages.torch_profiler.settings import TorchProfiler

PART = "llm_perf_opt.stages.torch_profiler.child:profile"


def plan(context: PlanContext[TorchProfiler]) -> PlannedStage:
    planned = plan_timed(context)
    steps, limit = context.settings.steps, context.config.artifacts.max_bytes
    what = "all decode steps" if steps is None else f"the first {steps:,} decode steps"
    note = (
        f"the profile covers prefill and {what}; where they are many, short ones before it tell what it will take, and "
        f"it is shortened to leave at most {limit:,} bytes"
    )
    return replace(planned, notes=(*planned.notes, note))


def execute(context: StageContext[TorchProfiler]) -> Outcome:
    return run_timed(context, PART)
