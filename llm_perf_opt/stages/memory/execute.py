"""One child that makes a pass under a tally of storages."""

from __future__ import annotations

from llm_perf_opt.artifacts.layout import MEMORY
from llm_perf_opt.plan.model import PlannedStage
from llm_perf_opt.records.memory import MemoryPeak
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.stages.base import PlanContext, StageContext
from llm_perf_opt.stages.memory import MemoryStage
from llm_perf_opt.stages.part import plan_part, run_part


def plan(context: PlanContext[MemoryStage]) -> PlannedStage:
    if (obstacle := _obstacle(context)) is not None:
        return PlannedStage(context.name, context.output_dir, notes=(f"will be skipped: {obstacle}",))
    note = "every batch of the first epoch is run once under a tally of storages, the one with the peak again"
    return plan_part(context, notes=(note,), files=(MEMORY,))


def execute(context: StageContext[MemoryStage]) -> Outcome:
    if (obstacle := _obstacle(context)) is not None:
        return Outcome.skipped(obstacle)
    run_part(context, "llm_perf_opt.stages.memory.child:find_peak")
    return Outcome.completed(MemoryPeak.read(context.output_dir / MEMORY).work_fingerprint)


def _obstacle(context: PlanContext[MemoryStage]) -> str | None:
    execution = context.config.infer.execution
    if execution == "eager":
        return None
    return f"infer.execution is {execution}: storages inside a compiled or captured step are not seen; eager shows them"
