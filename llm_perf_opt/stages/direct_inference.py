"""The timed repeats and the outputs alone."""

from __future__ import annotations

from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.stages.base import Stage, StageContext
from llm_perf_opt.stages.measured import plan_measured, run_measured


def execute(context: StageContext) -> Outcome:
    return run_measured(context, context.config.pipeline.direct_inference.output, profile=False)


STAGE = Stage(name="direct_inference", runs_model=True, planner=plan_measured, execute=execute)
