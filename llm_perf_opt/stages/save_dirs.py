"""Where predictions and galleries go: refused before anything runs where something else is, or would be, there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from llm_perf_opt.artifacts.files import sha256_of
from llm_perf_opt.artifacts.layout import (
    FACTS,
    FILE_NAMES,
    GALLERY,
    LEVELS,
    MANIFEST,
    ORDER,
    PRED_DIR,
    PREDICTIONS,
    VIZ_DIR,
    WORKLOAD,
    save_dir,
    stage_dir,
)
from llm_perf_opt.config.base import Output, TimedSettings
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.records.elsewhere import Elsewhere, FileElsewhere
from llm_perf_opt.stages.enabled import enabled_stages

_OUTPUTS = (PREDICTIONS, GALLERY, WORKLOAD, FACTS, ORDER)
"""By these a folder is known as one that some stage wrote into."""
_CHOOSE = "choose another folder"


@dataclass(frozen=True)
class _Asked:
    """One folder that a stage will write into."""

    key: str
    """The setting that names it."""
    file: str
    """What it will hold."""
    stage: Path
    """The stage's own directory."""
    folder: Path
    configured: str | None
    names: frozenset[str]
    """Names and patterns of what the stage writes into its own directory."""


def refuse_used_folders(config: Config, run_path: Path) -> None:
    """Refuse a `save_dir` that is taken.

    Raises:
        ConfigError: it leaves the stage's directory, has the name of one of its files, holds the output of another run
            or stage, or is asked for twice.
    """
    taken: dict[tuple[Path, str], str] = {}
    for asked in _asked(config, run_path.absolute()):
        if asked.configured is not None and Path(asked.configured).is_absolute():
            _refuse_outside(asked, run_path.absolute())
        else:
            _refuse_inside(asked)
        first = taken.setdefault((asked.folder.resolve(), asked.file), asked.key)
        if first != asked.key:
            raise ConfigError(f"{asked.key} and {first} name the same folder, {asked.folder}", "give each its own")


def fixed_folders(config: Config) -> list[str]:
    """The settings that name one folder for every run of `config`."""
    asked = _asked(config, Path("/"))
    return [each.key for each in asked if each.configured is not None and Path(each.configured).is_absolute()]


def _asked(config: Config, run_path: Path) -> Iterator[_Asked]:
    for stage in enabled_stages(config):
        if not isinstance(stage.settings, TimedSettings):
            continue
        output: Output = stage.settings.output
        below = "pipeline.plugins" if stage.name in config.pipeline.plugins else "pipeline"
        own = stage_dir(run_path, stage.name)
        names = FILE_NAMES | {LEVELS, *stage.stage.records}
        for name, part, default, file in (
            ("prediction", output.prediction, PRED_DIR, PREDICTIONS),
            ("visualization", output.visualization, VIZ_DIR, GALLERY),
        ):
            if part.enable:
                key = f"{below}.{stage.name}.output.{name}.save_dir"
                yield _Asked(key, file, own, save_dir(own, part.save_dir, default), part.save_dir, names)


def _refuse_inside(asked: _Asked) -> None:
    """A relative folder is in the stage's own directory, beside the stage's own files."""
    path = Path(asked.configured or ".")
    if ".." in path.parts:
        message = f"{asked.key}: {asked.configured} leaves the stage's own directory"
        raise ConfigError(message, "name a folder in it, or write an absolute path")
    first = path.parts[0] if path.parts else ""
    if first.startswith("~"):
        raise ConfigError(f"{asked.key}: there is no home of {first}", _CHOOSE)
    if any(fnmatchcase(first, name) for name in asked.names):
        raise ConfigError(f"{asked.key}: {first} is the name of a file of the stage", _CHOOSE)


def _refuse_outside(asked: _Asked, run_path: Path) -> None:
    folder = asked.folder.resolve()
    if folder.is_relative_to(run_path.resolve()):
        message = f"{asked.key}: {asked.folder} is in the run directory itself"
        raise ConfigError(message, "name a folder outside of it, or one relative to the stage's own")
    if asked.folder.exists() and not asked.folder.is_dir():
        raise ConfigError(f"{asked.key}: {asked.folder} is a file", _CHOOSE)
    for place in (folder, *folder.parents):
        if (place / MANIFEST).is_file():
            raise ConfigError(f"{asked.key}: {asked.folder} is in another run, {place}", _CHOOSE)
        if place.exists() and not place.is_dir():
            raise ConfigError(f"{asked.key}: {place} is a file", _CHOOSE)
    held = next((name for name in _OUTPUTS if (folder / name).exists()), None)
    if held is not None:
        raise ConfigError(f"{asked.key}: {asked.folder} already holds the output of another run: {held}", _CHOOSE)


def prediction_dir(directory: Path, output: Output) -> Path | None:
    """Where predictions go; None where none are written."""
    return save_dir(directory, output.prediction.save_dir, PRED_DIR) if output.prediction.enable else None


def visualization_dir(directory: Path, output: Output) -> Path | None:
    """Where the gallery goes; None where none is written."""
    return save_dir(directory, output.visualization.save_dir, VIZ_DIR) if output.visualization.enable else None


def elsewhere(run_path: Path, prediction_dir: Path | None, visualization_dir: Path | None) -> Elsewhere:
    """What a stage wrote outside the run."""
    files = []
    for folder, name in ((prediction_dir, PREDICTIONS), (visualization_dir, GALLERY)):
        path = folder / name if folder is not None else None
        if path is not None and not path.resolve().is_relative_to(run_path.resolve()) and path.is_file():
            files.append(FileElsewhere(path=str(path), size_bytes=path.stat().st_size, sha256=sha256_of(path)))
    return Elsewhere(files=tuple(files))
