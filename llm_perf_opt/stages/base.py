"""What a stage is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from llm_perf_opt.artifacts.layout import scratch_dir, stage_dir
from llm_perf_opt.config.schema import Config
from llm_perf_opt.plan.model import PlannedStage
from llm_perf_opt.records.inputs import Inputs
from llm_perf_opt.records.outcome import Outcome


class Progress(Protocol):
    """Where a stage says how far it is."""

    def update(self, phase: str, done: int, total: int, steps: int) -> None:
        """It is in `phase`, has finished `done` of `total` runs, and has decoded `steps` tokens in all."""


@dataclass(frozen=True)
class StageContext:
    """What a stage is given."""

    config: Config
    inputs: Inputs
    run_path: Path
    name: str
    progress: Progress

    @property
    def output_dir(self) -> Path:
        """The stage's own directory; the stage makes it when it has something to put there."""
        return stage_dir(self.run_path, self.name)

    @property
    def scratch_dir(self) -> Path:
        return scratch_dir(self.run_path, self.name)


@dataclass(frozen=True)
class Stage:
    """One stage. `execute` returns how it ended or raises LlmperfError, which the runner records as a failure."""

    name: str
    runs_model: bool
    """Whether it needs the samples."""
    planner: Callable[[str, Config, Path], PlannedStage]
    """(stage name, configuration, run directory) → what it will do."""
    execute: Callable[[StageContext], Outcome]
    wraps_workload: bool = False
    """Whether it launches `pipeline.workload` where that is set; no samples are needed then."""

    def needs_samples(self, config: Config) -> bool:
        """Whether the model and the samples of `config` must be there."""
        foreign = config.pipeline.workload.module is not None or config.pipeline.workload.command is not None
        return self.runs_model and not (self.wraps_workload and foreign)

    def plan(self, config: Config, run_path: Path) -> PlannedStage:
        return self.planner(self.name, config, run_path)
