"""Timed repeats without a profiler, then one sample under the PyTorch profiler."""

from __future__ import annotations

from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.stages.base import Stage, StageContext
from llm_perf_opt.stages.measured import plan_measured, run_measured


def execute(context: StageContext) -> Outcome:
    return run_measured(context, context.config.pipeline.torch_profiler.output, profile=True)


STAGE = Stage(name="torch_profiler", runs_model=True, planner=plan_measured, execute=execute)
