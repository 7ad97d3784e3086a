"""What a stage and an observer are, and what each is given.

Light: a stage's own file, which the configuration imports for its settings, imports this one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from llm_perf_opt.artifacts.layout import scratch_dir, stage_dir
from llm_perf_opt.config.base import StageSettings
from llm_perf_opt.registry import Component, resolved

if TYPE_CHECKING:
    from llm_perf_opt.config.schema import Config
    from llm_perf_opt.plan.model import PlannedStage
    from llm_perf_opt.records.inputs import Inputs
    from llm_perf_opt.records.outcome import Outcome

S_co = TypeVar("S_co", bound=StageSettings, covariant=True)
Needs = Literal["nothing", "model", "files", "samples"]
"""What must be there before a run starts: nothing, the model's configuration, that and the samples as files, or that
and leave to run the model on them."""


class Progress(Protocol):
    """Where a stage says how far it is."""

    def update(self, phase: str, done: int, total: int, steps: int) -> None:
        """It is in `phase`, has finished `done` of `total` runs, and has decoded `steps` tokens in all."""


@dataclass(frozen=True)
class PlanContext(Generic[S_co]):
    """What a stage is given to say what it will do."""

    name: str
    """The one it is registered under."""
    settings: S_co
    """Its own section."""
    config: Config
    run_path: Path

    @property
    def output_dir(self) -> Path:
        """The stage's own directory; the stage makes it when it has something to put there."""
        return stage_dir(self.run_path, self.name)

    @property
    def scratch_dir(self) -> Path:
        """Work order, events and logs of its children."""
        return scratch_dir(self.run_path, self.name)


@dataclass(frozen=True)
class StageContext(PlanContext[S_co]):
    """What a stage is given to do it."""

    inputs: Inputs
    progress: Progress


@dataclass(frozen=True)
class Stage(Component):
    """Something a run does. Its name is the one it is registered under.

    Functions are given as themselves or, where importing them costs something, as `module:function`.
    """

    execute: str | Callable[[StageContext[Any]], Outcome] = ""
    """Do it: how it ended, or an LlmperfError, which the runner records as a failure."""
    planner: str | Callable[[PlanContext[Any]], PlannedStage] | None = None
    """What it will do; None: something in its directory, about which nothing more can be said."""
    needs: Needs | Callable[[Any, Config], Needs] = "samples"
    """(its settings, configuration) → what must be there."""

    def run(self, context: StageContext[Any]) -> Outcome:
        return resolved(self.execute)(context)

    def plan(self, context: PlanContext[Any]) -> PlannedStage:
        from llm_perf_opt.plan.model import PlannedStage

        if self.planner is None:
            return PlannedStage(context.name, context.output_dir)
        return resolved(self.planner)(context)

    def needs_of(self, settings: StageSettings, config: Config) -> Needs:
        return self.needs(settings, config) if callable(self.needs) else self.needs


@dataclass(frozen=True)
class Observer(Component):
    """Something that watches the timed repeats of every stage that makes them, in the child."""

    watch: str | Callable[[Any], Any] = ""
    """(`workload.watching.WatchContext`) → a `workload.watching.Watch`, which leaves its records beside the stage's."""
