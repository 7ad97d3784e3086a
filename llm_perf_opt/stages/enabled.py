"""Which stages and observers a configuration turns on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from llm_perf_opt.config.base import StageSettings
from llm_perf_opt.config.schema import Config
from llm_perf_opt.plan.model import PlannedStage
from llm_perf_opt.records.inputs import Inputs
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.registry import STAGES, Component, reference_to
from llm_perf_opt.stages.base import Needs, Observer, PlanContext, Progress, Stage, StageContext

T = TypeVar("T", Stage, Observer)


@dataclass(frozen=True)
class EnabledStage:
    """A stage that is on, with its settings."""

    name: str
    stage: Stage
    settings: StageSettings

    def plan(self, config: Config, run_path: Path) -> PlannedStage:
        return self.stage.plan(PlanContext(self.name, self.settings, config, run_path))

    def run(self, config: Config, inputs: Inputs, run_path: Path, progress: Progress) -> Outcome:
        return self.stage.run(StageContext(self.name, self.settings, config, run_path, inputs, progress))

    def needs(self, config: Config) -> Needs:
        return self.stage.needs_of(self.settings, config)


def component(name: str, config: Config) -> Component:
    """The stage or observer behind a section of `config`."""
    if name in config.pipeline.plugins:
        return STAGES.get_third_party(name, Component)
    return STAGES.get(name, Component)


def enabled_stages(config: Config) -> list[EnabledStage]:
    """The stages that `config` turns on, in order: the built-in ones, then plug-ins as they are written.

    Raises:
        ConfigError, MissingError: a plug-in is not installed, or unusable.
    """
    return [EnabledStage(name, found, settings) for name, found, settings in _enabled(config, Stage)]


def enabled_observers(config: Config) -> list[tuple[str, Observer, StageSettings]]:
    """The observers that `config` turns on; `auto` is on, and the observer itself finds out what there is to see."""
    return list(_enabled(config, Observer))


def observer_references(config: Config) -> dict[str, str]:
    """Name of each observer that is on → `module:function` of its watch, for the child."""
    return {
        name: observer.watch if isinstance(observer.watch, str) else reference_to(observer.watch)
        for name, observer, _ in enabled_observers(config)
    }


def _enabled(config: Config, kind: type[T]) -> Iterator[tuple[str, T, StageSettings]]:
    for name, settings in config.pipeline.items():
        if settings.enable is False:
            continue
        found = component(name, config)
        if isinstance(found, kind):
            yield name, found, settings
