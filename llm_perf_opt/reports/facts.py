"""Everything a report is made from, read back from a run directory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import ValidationError

from llm_perf_opt.analysis.metrics import stage_metrics
from llm_perf_opt.analysis.work import peaks_of, work_of
from llm_perf_opt.artifacts.layout import (
    CONFIG,
    ENVIRONMENT,
    FACTS,
    GALLERY,
    INPUTS,
    PRED_DIR,
    PREDICTIONS,
    PROFILE,
    REGION,
    REGIONS,
    STATIC,
    TABLES,
    VIZ_DIR,
    WORKLOAD,
    save_dir,
    stage_dir,
)
from llm_perf_opt.config.pipeline import Output
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import MissingError
from llm_perf_opt.records.environment import EnvironmentRecord
from llm_perf_opt.records.inputs import Inputs
from llm_perf_opt.records.manifest import Manifest
from llm_perf_opt.records.metrics import Metrics
from llm_perf_opt.records.predictions import Prediction
from llm_perf_opt.records.static import StaticRecord
from llm_perf_opt.records.tables import KernelRow, OperatorRow, read_kernels, read_operators
from llm_perf_opt.records.tools import NcuCapture, NcuRegion, NsysCapture
from llm_perf_opt.records.workload import Profile, Workload

MEASURED_STAGES = ("torch_profiler", "direct_inference")
T = TypeVar("T")


@dataclass(frozen=True)
class Measured:
    """One stage that timed the model."""

    workload: Workload
    metrics: Metrics
    predictions: tuple[Prediction, ...] = ()
    """Empty where none were written into the run directory."""
    gallery: str | None = None
    """Its page, relative to the run directory."""


@dataclass(frozen=True)
class Setup:
    """What a run was asked for, where it ran, and on what."""

    config: Config
    environment: EnvironmentRecord
    inputs: Inputs


@dataclass(frozen=True)
class RunFacts:
    """A run; what it does not hold is None or empty."""

    path: Path
    manifest: Manifest
    setup: Setup | None
    """None for imported files: how they were captured is not known."""
    measured: dict[str, Measured]
    """By stage."""
    profile: Profile | None = None
    operators: list[OperatorRow] = field(default_factory=list)
    kernels: list[KernelRow] = field(default_factory=list)
    static: StaticRecord | None = None
    nsys: NsysCapture | None = None
    ncu: NcuCapture | None = None
    ncu_regions: tuple[NcuRegion, ...] = ()

    @property
    def headline(self) -> Measured | None:
        """The timings to quote: the plain run's, else those before the profiler."""
        return self.measured.get("direct_inference") or self.measured.get("torch_profiler")


def read_run(path: Path, manifest: Manifest) -> RunFacts:
    """Read the records of the run in `path`.

    Raises:
        MissingError: a record that every run has is not there, or a record is broken; the message names the file.
    """
    setup = None if manifest.imported else _setup(path)
    profiler = path / "torch_profiler"
    tables = profiler / TABLES
    ncu = _read_if_there(path / "ncu" / FACTS, NcuCapture.model_validate_json)
    return RunFacts(
        path=path,
        manifest=manifest,
        setup=setup,
        measured=_measured(path, setup.config) if setup is not None else {},
        profile=_read_if_there(profiler / PROFILE, Profile.model_validate_json),
        operators=read_operators(tables) if tables.exists() else [],
        kernels=read_kernels(tables) if tables.exists() else [],
        nsys=_read_if_there(path / "nsys" / FACTS, NsysCapture.model_validate_json),
        ncu=ncu,
        ncu_regions=tuple(_region(path, folder) for folder in ncu.regions) if ncu is not None else (),
        static=_read_if_there(path / "static_analysis" / STATIC, StaticRecord.model_validate_json),
    )


def _setup(path: Path) -> Setup:
    return Setup(
        config=_read(path / CONFIG, lambda data: Config.model_validate_json(_yaml_as_json(data))),
        environment=_read(path / ENVIRONMENT, EnvironmentRecord.model_validate_json),
        inputs=_read(path / INPUTS, lambda data: Inputs.model_validate_json(_yaml_as_json(data))),
    )


def _region(path: Path, folder: str) -> NcuRegion:
    return _read(path / "ncu" / REGIONS / folder / REGION, NcuRegion.model_validate_json)


def _measured(path: Path, config: Config) -> dict[str, Measured]:
    found = {}
    settings = config.pipeline.static_analysis
    for stage in MEASURED_STAGES:
        workload = _read_if_there(path / stage / WORKLOAD, Workload.model_validate_json)
        if workload is not None:
            work = work_of(workload, config.infer, settings.attention_flops, settings.logits)
            peaks = peaks_of(workload.device, workload.model, config.hardware)
            output = config.pipeline.torch_profiler.output
            if stage == "direct_inference":
                output = config.pipeline.direct_inference.output
            found[stage] = Measured(
                workload,
                stage_metrics(workload, work, peaks),
                _predictions(path, stage, output),
                _gallery(path, stage, output),
            )
    return found


def _predictions(path: Path, stage: str, output: Output) -> tuple[Prediction, ...]:
    file = save_dir(stage_dir(path, stage), output.prediction.save_dir, PRED_DIR) / PREDICTIONS
    # A folder outside the run may have been written by another one since.
    if not output.prediction.enable or not file.is_relative_to(path):
        return ()
    return _read_if_there(file, lambda data: tuple(map(Prediction.model_validate_json, data.splitlines()))) or ()


def _gallery(path: Path, stage: str, output: Output) -> str | None:
    file = save_dir(stage_dir(path, stage), output.visualization.save_dir, VIZ_DIR) / GALLERY
    if not output.visualization.enable or not file.is_relative_to(path) or not file.exists():
        return None
    return file.relative_to(path).as_posix()


def _yaml_as_json(data: bytes) -> str:
    import json

    return json.dumps(yaml.load(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))  # noqa: S506 (both safe)


def _read(file: Path, parse: Callable[[bytes], T]) -> T:
    try:
        return parse(file.read_bytes())
    except FileNotFoundError as error:
        raise MissingError(f"{file} is missing from this run", "name a run directory that llmperf wrote") from error
    except (OSError, ValidationError, ValueError, yaml.YAMLError) as error:
        raise MissingError(f"{file} cannot be read: {error}", "restore the file, or run again") from error


def _read_if_there(file: Path, parse: Callable[[bytes], T]) -> T | None:
    return _read(file, parse) if file.exists() else None
