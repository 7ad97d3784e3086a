"""What will run: made from a configuration before anything runs, and printed by `--dry-run`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from llm_perf_opt.config.schema import Config
from llm_perf_opt.records.inputs import Inputs


@dataclass(frozen=True)
class PassEstimate:
    """How often a tool will run what it profiles."""

    count: int | None
    """Null where it cannot be known before it runs."""
    explanation: str
    """The formula, and the reason for a null."""


@dataclass(frozen=True)
class PlannedStage:
    """One stage that will run."""

    name: str
    output_dir: Path
    commands: tuple[tuple[str, ...], ...] = ()
    """Exact argv of every child, in order."""
    notes: tuple[str, ...] = ()
    """What a reader should know before it runs."""
    tool: str | None = None
    """Version and place of the tool that will run, or that it was not found; null where none is needed."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables that children get beside those of this process."""
    left_out: tuple[str, ...] = ()
    """Names of variables of this process that children do not get."""
    files: tuple[str, ...] = ()
    """What should be in the directory afterwards, where that depends on the settings."""
    passes: PassEstimate | None = None


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
    numbered: bool = False
    """The name of `run_path` is the time: the run takes the next number where another one has it by then."""


def build_plan(config: Config, inputs: Inputs, run_path: Path, stages: Sequence[Plannable]) -> Plan:
    """The plan of a run of `stages` into `run_path`."""
    return Plan(config, inputs, run_path, tuple(stage.plan(config, run_path) for stage in stages))
