"""Nsight Compute around the workload child."""

from __future__ import annotations

from pathlib import Path

from llm_perf_opt.config.schema import Config
from llm_perf_opt.plan.model import PlannedStage
from llm_perf_opt.plan.paths import stage_dir
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.stages.base import Stage, StageContext

NOT_BUILT = "running ncu is not built yet in this version; only its settings are checked"


def plan(name: str, _config: Config, run_path: Path) -> PlannedStage:
    return PlannedStage(name, stage_dir(run_path, name), notes=(NOT_BUILT,))


def execute(_context: StageContext) -> Outcome:
    return Outcome.failed(NOT_BUILT, "set pipeline.ncu.enable: false")


STAGE = Stage(name="ncu", runs_model=True, planner=plan, execute=execute)
