"""What will run: made from a configuration before anything runs, and printed by `--dry-run`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from llm_perf_opt.config.schema import Config
from llm_perf_opt.records.inputs import Inputs


@dataclass(frozen=True)
class PlannedStage:
    """One stage that will run."""

    name: str
    output_dir: Path
    commands: tuple[tuple[str, ...], ...] = ()
    """Exact argv of every child, in order."""
    notes: tuple[str, ...] = ()
    """What a reader should know before it runs."""


class Plannable(Protocol):
    """What the plan needs to know of a stage."""

    @property
    def name(self) -> str: ...

    def plan(self, config: Config, run_path: Path) -> PlannedStage: ...


@dataclass(frozen=True)
class Plan:
    """A run that has not started."""

    config: Config
    inputs: Inputs
    run_path: Path
    stages: tuple[PlannedStage, ...]


def build_plan(config: Config, inputs: Inputs, run_path: Path, stages: Sequence[Plannable]) -> Plan:
    """The plan of a run of `stages` into `run_path`."""
    return Plan(config, inputs, run_path, tuple(stage.plan(config, run_path) for stage in stages))
