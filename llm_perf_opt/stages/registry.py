"""The stages in the order they run.

A built-in stage is a field of `config.pipeline.Pipeline` with an `enable` key, and a file here of the same name that
exports `STAGE`; it is imported only when the stage runs. Third parties add one through the entry point group
`llmperf.stages`, named under `pipeline.plugins`.
"""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points

from llm_perf_opt.config.pipeline import Pipeline
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import ConfigError, MissingError
from llm_perf_opt.stages.base import Stage

GROUP = "llmperf.stages"
NOT_STAGES = frozenset({"workload", "plugins"})
STAGE_NAMES: tuple[str, ...] = tuple(name for name in Pipeline.model_fields if name not in NOT_STAGES)


def enabled_stages(config: Config) -> list[Stage]:
    """The stages that `config` asks for, in order: the built-in ones, then plug-ins as they are written.

    Raises:
        ConfigError: a plug-in of that name is not installed, or is no stage.
        MissingError: a plug-in cannot be imported.
    """
    wanted = [name for name in STAGE_NAMES if getattr(config.pipeline, name).enable]
    builtin: list[Stage] = [importlib.import_module(f"llm_perf_opt.stages.{name}").STAGE for name in wanted]
    return builtin + [_plugin(name) for name in config.pipeline.plugins]


def _plugin(name: str) -> Stage:
    found = entry_points(group=GROUP, name=name)
    if not found:
        raise ConfigError(
            f"pipeline.plugins.{name}: no installed package offers a stage of that name",
            f"install it, or remove the key (entry point group {GROUP})",
        )
    point = next(iter(found))
    try:
        stage = point.load()
    except ImportError as error:
        owner = point.dist.name if point.dist else "an unknown distribution"
        raise MissingError(
            f"stage {name!r} of {owner} cannot be imported: {error}", f"repair or remove {owner}"
        ) from error
    if not isinstance(stage, Stage):
        raise ConfigError(f"pipeline.plugins.{name}: {point.value} is no llm_perf_opt.stages.base.Stage")
    return stage
