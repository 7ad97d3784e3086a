"""The points of a sweep: every one with its whole configuration, validated before the first one runs."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_perf_opt.config.dump import to_dict
from llm_perf_opt.config.load import load_config
from llm_perf_opt.config.overrides import read_value
from llm_perf_opt.config.problems import Problem
from llm_perf_opt.config.schema import Config
from llm_perf_opt.config.tree import Source
from llm_perf_opt.errors import ConfigError, LlmperfError, MissingError
from llm_perf_opt.hardware.catalogue import gpu_named
from llm_perf_opt.records.sweep import Scalar, SweepPoint
from llm_perf_opt.records.workload import Workload
from llm_perf_opt.redact import hidden_paths
from llm_perf_opt.registry import stages_leaving
from llm_perf_opt.run import plan_at
from llm_perf_opt.stages.enabled import enabled_stages
from llm_perf_opt.stages.save_dirs import fixed_folders
from llm_perf_opt.sweep.axes import FILES, Choice, Settings, varied
from llm_perf_opt.workload.weights import weights_id

ID_LENGTH = 12
_SHOWN = 5


@dataclass(frozen=True)
class Point:
    """One combination of settings."""

    record: SweepPoint
    config: Config
    """With everything resolved; of one launch."""
    launches: int = 1
    """That its configuration asks for, `measure.launches`."""


@dataclass(frozen=True)
class Task:
    """One launch of one point: an ordinary run."""

    point: SweepPoint
    launch: int
    """From 1."""
    config: Config | None = None
    """None where the run is only looked at."""

    @property
    def key(self) -> str:
        """Names its run directory."""
        return self.point.id if self.launch == 1 else f"{self.point.id}.{self.launch}"

    @property
    def label(self) -> str:
        settings = " ".join(f"{key}={_shown(value)}" for key, value in self.point.settings.items())
        return (settings or self.point.id) + (f" (launch {self.launch})" if self.launch > 1 else "")


def _shown(value: Scalar) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def plan_points(
    combinations: Sequence[Settings], *, options: Mapping[str, object] | None = None, config_dirs: Sequence[Path] = ()
) -> list[Point]:
    """Every point with its configuration; those that come out the same are one.

    Raises:
        ConfigError: a point cannot be run; with the mistakes of all of them.
        MissingError: likewise, where something is not there.
    """
    keys = varied(combinations)
    found: dict[str, Point] = {}
    launches: set[int] = set()
    wrong: dict[str, tuple[LlmperfError, list[str]]] = {}
    for settings in combinations:
        shown = tuple(choice for choice in settings if choice.key in keys)
        try:
            point = _point(settings, shown, options, config_dirs)
        except LlmperfError as error:
            said = _without_settings(str(error), settings)
            wrong.setdefault(said, (error, []))[1].append(" ".join(choice.override for choice in shown))
        else:
            found.setdefault(point.record.id, point)
            launches.add(point.launches)
    if wrong:
        raise _refusal(list(wrong.values()), len(combinations))
    if len(launches) > 1:
        raise ConfigError(
            f"measure.launches is {' and '.join(map(str, sorted(launches)))}, and all points of a sweep take turns",
            "set one number for all: measure.launches=N",
        )
    return list(found.values())


def _without_settings(message: str, settings: Settings) -> str:
    """For telling mistakes apart: the same one at other settings is the same."""
    for choice in settings:
        message = message.replace(choice.override, choice.key)
    return message


def _refusal(wrong: list[tuple[LlmperfError, list[str]]], of: int) -> LlmperfError:
    if len(wrong) == 1 and len(wrong[0][1]) == of:
        return wrong[0][0]  # nothing that is swept has to do with it
    count = sum(len(points) for _, points in wrong)
    lines = [f"{count} of {of} points cannot be run, so none was started"]
    for error, points in wrong[:_SHOWN]:
        more = f" and {len(points) - 1} more" if len(points) > 1 else ""
        lines.append(f"{points[0]}{more}: {error}")
    if len(wrong) > _SHOWN:
        lines.append(f"… and {len(wrong) - _SHOWN} more mistakes")
    missing = any(error.exit_code == MissingError.exit_code for error, _ in wrong)
    return (MissingError if missing else ConfigError)("\n".join(lines))


def _point(
    settings: Settings, shown: Settings, options: Mapping[str, object] | None, config_dirs: Sequence[Path]
) -> Point:
    file = next((Path(choice.value) for choice in settings if choice.key == FILES), None)
    overrides = [choice.override for choice in settings if choice.key != FILES]
    asked = load_config(file, overrides, options=options, config_dirs=config_dirs).config
    plan = plan_at(_of_one_launch(asked), Path("/"))
    config = plan.config
    values = to_dict(config)
    if config.hardware.gpu != "auto":
        gpu_named(config.hardware.gpu)
    if secrets := list(hidden_paths(values)):
        raise ConfigError(
            f"{', '.join(secrets)} holds a secret, and a sweep keeps the configuration of its points",
            "give it to the command through the environment",
        )
    if folders := fixed_folders(config):
        raise ConfigError(f"{folders[0]} is one folder for all points", "give a relative one, or null")
    del values["artifacts"]
    weights = None if config.model.path is None else _weights_id(Path(config.model.path))
    work = [plan.inputs.model_dump(mode="json"), weights]
    identity = _digest([values, work])
    batch = values["infer"].pop("batch_size")
    record = SweepPoint(
        id=identity[:ID_LENGTH],
        settings={choice.key: value_of(choice) for choice in shown},
        group=_digest([values, weights])[:ID_LENGTH],
        batch=batch,
    )
    return Point(record, config, asked.measure.launches)


def _of_one_launch(config: Config) -> Config:
    """A run of several launches makes them one after the other; the sweep has those of all points take turns."""
    return config.model_copy(update={"measure": config.measure.model_copy(update={"launches": 1})})


@functools.cache
def _weights_id(path: Path) -> str:
    return weights_id(path)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def value_of(choice: Choice) -> Scalar:
    """What YAML makes of it; a list or map stays as it was written."""
    if choice.key == FILES:
        return choice.value
    node = read_value(choice.value, Source("override", choice.override), choice.key)
    value = choice.value if isinstance(node, Problem) else node.plain()
    return choice.value if isinstance(value, list | dict) else value


def tasks_of(points: Sequence[Point], launches: int) -> list[Task]:
    """Every launch of every point, in the order they run: the first launch of all points, then the second, …

    So a machine that gets slower in the course of an hour makes all points slower, not the last ones. Of points that
    differ in their batch alone the smaller go first.

    Raises:
        ConfigError: there is nothing to repeat.
    """
    order = _smaller_first(points)
    first = [Task(point.record, 1, point.config) for point in order]
    again = [timed_only(point.config) for point in order] if launches > 1 else []
    if not all(map(enabled_stages, again)):
        raise ConfigError("several launches repeat stages that time the model, and none is on", "add --infer")
    later = [
        Task(point.record, launch, config)
        for launch in range(2, launches + 1)
        for point, config in zip(order, again, strict=True)
    ]
    return [*first, *later]


def _smaller_first(points: Sequence[Point]) -> list[Point]:
    """In the order they stand, but that points of one group exchange places until the smaller batches come first."""
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(point.record.group, []).append(point)
    rising = {name: iter(sorted(group, key=lambda point: point.record.batch)) for name, group in groups.items()}
    return [next(rising[point.record.group]) for point in points]


def timed_only(config: Config) -> Config:
    """`config` for a launch that times the model once more: what does not, was done by the first launch."""
    timed = stages_leaving(Workload)
    off = {
        stage.name: stage.settings.model_copy(update={"enable": False})
        for stage in enabled_stages(config)
        if stage.name not in timed
    }
    plugins = {name: section for name, section in config.pipeline.plugins.items() if name not in off}
    builtin = {name: section for name, section in off.items() if name not in config.pipeline.plugins}
    return config.model_copy(update={"pipeline": config.pipeline.model_copy(update={**builtin, "plugins": plugins})})
