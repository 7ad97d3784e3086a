"""Everything a report is made from, read back from a run directory."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from llm_perf_opt.analysis.cost import cost_of, once_a_work, peaks_of
from llm_perf_opt.analysis.launches import over_launches
from llm_perf_opt.analysis.metrics import CostOf, Peaks, stage_metrics
from llm_perf_opt.artifacts.layout import (
    CONFIG,
    ENVIRONMENT,
    GALLERY,
    INPUTS,
    PRED_DIR,
    PREDICTIONS,
    TOKENS,
    VIZ_DIR,
    WORKLOAD,
    drill_down_file,
    headline_dir,
    launch_of,
    rank_dir,
    rank_dirs,
    record_dirs,
    save_dir,
    stage_dir,
)
from llm_perf_opt.config.base import TimedSettings
from llm_perf_opt.config.pipeline import PLUGINS_AS_WRITTEN
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import LlmperfError, MissingError
from llm_perf_opt.opening import read_file
from llm_perf_opt.records.device_timeline import DeviceTimeline
from llm_perf_opt.records.drill_down import DrillDown
from llm_perf_opt.records.environment import EnvironmentRecord
from llm_perf_opt.records.hardware import HardwareState
from llm_perf_opt.records.inputs import Inputs
from llm_perf_opt.records.launches import Launches, Tokens
from llm_perf_opt.records.machine import MachineState
from llm_perf_opt.records.manifest import Manifest
from llm_perf_opt.records.metrics import Metrics
from llm_perf_opt.records.peaks import MeasuredPeaks
from llm_perf_opt.records.predictions import Prediction
from llm_perf_opt.records.workload import BatchResult, DeviceFacts, Workload
from llm_perf_opt.records.yaml_file import plain_yaml
from llm_perf_opt.registry import STAGES, Component, load
from llm_perf_opt.stages.base import Observer
from llm_perf_opt.stages.static_analysis import StaticAnalysis

T = TypeVar("T")


@dataclass(frozen=True)
class Launched:
    """One launch of a stage that timed the model."""

    number: int
    workload: Workload
    hardware: HardwareState
    tokens: Tokens | None = None
    """Null in runs of llmperf 0.2 and before."""
    machine: MachineState | None = None
    """Null where no observer of the machine was on, and in runs of llmperf 0.2 and before."""


@dataclass(frozen=True)
class Measured:
    """One stage that timed the model."""

    launches: tuple[Launched, ...]
    """Those that were measured; one at least."""
    metrics: Metrics
    """Over all of them."""
    predictions: tuple[Prediction, ...] = ()
    """Empty where none were written into the run directory."""
    gallery: str | None = None
    """Its page, relative to the run directory."""
    failed: tuple[str, ...] = ()
    """Which launches failed, and why."""
    cost: CostOf | None = None
    """The work of each batch; None where nobody can say."""
    peaks: Peaks | None = None
    """What the device is held against."""

    @property
    def workload(self) -> Workload:
        """Of the first launch: what the model and the work were."""
        return self.launches[0].workload

    @property
    def hardware(self) -> HardwareState:
        """Of the first launch in which the GPU was throttled, else of the first."""
        return next((item.hardware for item in self.launches if item.hardware.throttled), self.launches[0].hardware)

    @property
    def batches(self) -> tuple[BatchResult, ...]:
        """Of all launches."""
        return tuple(batch for item in self.launches for batch in item.workload.batches)

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of its figures, in words."""
        notes = dict.fromkeys(note for item in self.launches for note in item.workload.notes)
        differ = len({item.workload.work_fingerprint for item in self.launches}) > 1
        return (*notes, *self.failed, *(["launches did different work: their fingerprints differ"] if differ else []))


@dataclass(frozen=True)
class Setup:
    """What a run was asked for, where it ran, and on what."""

    config: Config
    environment: EnvironmentRecord
    inputs: Inputs


@dataclass(frozen=True)
class Found:
    """One record of a run."""

    stage: str
    file: Path
    record: Any


@dataclass(frozen=True)
class RankRecords:
    """What one rank of a sharded model left."""

    workload: Workload
    tokens: Tokens | None


@dataclass(frozen=True)
class RunFacts:
    """A run; what it does not hold is None or empty."""

    path: Path
    manifest: Manifest
    setup: Setup | None
    """None for imported files: how they were captured is not known."""
    records: tuple[Found, ...] = ()
    """What the stages and observers left, in the order of the stages."""
    measured: dict[str, Measured] = field(default_factory=dict)
    """What was timed, by stage."""
    ranks: dict[str, tuple[RankRecords, ...]] = field(default_factory=dict)
    """What each rank of a sharded model measured, by stage; without stages that ran in one process."""
    unread: dict[str, str] = field(default_factory=dict)
    """Stage → why its records were not read: its plug-in is not installed any more."""

    def first(self, kind: type[T]) -> T | None:
        """The first record of a type, or None."""
        return next((found.record for found in self.records if isinstance(found.record, kind)), None)

    def all(self, kind: type[T]) -> list[tuple[Found, T]]:
        """Every record of a type, with where it was found."""
        return [(found, found.record) for found in self.records if isinstance(found.record, kind)]

    def of_stage(self, stage: str, kind: type[T]) -> T | None:
        """The first record of a type that a stage left, or None."""
        return next((record for found, record in self.all(kind) if found.stage == stage), None)

    def measured_peaks(self, device: DeviceFacts) -> MeasuredPeaks | None:
        """Those of a device, the same for all stages and launches: as they were known best; None where none were."""
        found = [
            peaks for _, peaks in self.all(MeasuredPeaks) if (peaks.device, peaks.name) == (device.device, device.name)
        ]
        return max(found, key=lambda peaks: peaks.attempts, default=None)

    @property
    def headline(self) -> Measured | None:
        """The timings to quote: those of a child that did nothing else, where there are some."""
        return next(iter(sorted(self.measured.values(), key=lambda found: not found.workload.timings_only)), None)


def read_run(path: Path, manifest: Manifest) -> RunFacts:
    """Read the records of the run in `path`.

    Raises:
        MissingError: a record that every run has is not there, or a record is broken; the message names the file.
    """
    setup = None if manifest.imported else _setup(path)
    found: list[Found] = []
    unread: dict[str, str] = {}
    for stage in manifest.stages:
        try:
            kinds = {**_records_of(stage, setup), **_observed()}
        except LlmperfError as error:
            unread[stage] = error.message
            continue
        found += _records(path, stage, kinds, imported=bool(manifest.imported))
    found += list(_drilled_ranks(path, found))
    facts = RunFacts(path, manifest, setup, tuple(found), unread=unread)
    if setup is None:
        return facts
    timed = dict.fromkeys(place.stage for place, _ in facts.all(Workload))
    measured = {stage: _measured(facts, setup.config, stage) for stage in timed}
    return replace(facts, measured=measured, ranks=dict(_ranks(path, manifest)))


def _ranks(path: Path, manifest: Manifest) -> Iterator[tuple[str, tuple[RankRecords, ...]]]:
    def records(own: Path) -> RankRecords:
        tokens = own / TOKENS
        return RankRecords(
            _read(own / WORKLOAD, Workload.read), _read(tokens, Tokens.read) if tokens.exists() else None
        )

    for stage in manifest.stages:
        for folder in record_dirs(stage_dir(path, stage)):
            found = tuple(records(own) for own in rank_dirs(folder) if (own / WORKLOAD).exists())
            if found:
                yield folder.relative_to(path).as_posix(), found


def _records_of(stage: str, setup: Setup | None) -> dict[str, str]:
    plugin = setup is not None and stage in setup.config.pipeline.plugins
    component = STAGES.get_third_party(stage, Component) if plugin else STAGES.get(stage, Component)
    return dict(component.records)


def _observed() -> dict[str, str]:
    """What the built-in observers leave in the directory of any stage that they watched."""
    return {
        file: kind
        for _, seen in STAGES.all(Component)
        if isinstance(seen, Observer)
        for file, kind in seen.records.items()
    }


def _records(path: Path, stage: str, kinds: dict[str, str], *, imported: bool) -> Iterator[Found]:
    for folder in record_dirs(stage_dir(path, stage)):
        # What imported ranks left is read through the record that joins them; of other ranks that of the first, where
        # there is none that joins them.
        first = folder if imported else headline_dir(folder)
        for pattern, reference in kinds.items():
            for file in sorted(folder.glob(pattern)) or sorted(first.glob(pattern)):
                yield Found(stage, file, _read(file, load(reference).read))


def _drilled_ranks(path: Path, found: list[Found]) -> Iterator[Found]:
    """What of ranks that were compared is drilled into: the first one, and the straggler where there is one."""
    seen = {item.file for item in found}
    for line in [item for item in found if isinstance(item.record, DeviceTimeline)]:
        compared = line.record.rank_comparison
        if compared is None:
            continue
        for rank in dict.fromkeys((line.record.ranks[0].rank, compared.straggler)):
            file = None if rank is None else rank_dir(line.file.parent, rank) / drill_down_file()
            if file is not None and file not in seen and file.exists():
                yield Found(line.stage, file, _read(file, DrillDown.read))


def _setup(path: Path) -> Setup:
    return Setup(
        config=_read(path / CONFIG, _config),
        environment=_read(path / ENVIRONMENT, EnvironmentRecord.read),
        inputs=_read(path / INPUTS, lambda file: Inputs.model_validate_json(_yaml_as_json(file))),
    )


def _config(file: Path) -> Config:
    """The configuration as it was: a plug-in that is not installed any more is no reason not to read the run."""
    return Config.model_validate_json(_yaml_as_json(file), context=PLUGINS_AS_WRITTEN)


def _measured(facts: RunFacts, config: Config, stage: str) -> Measured:
    counting = config.pipeline.first(StaticAnalysis)
    launches = tuple(_launched(facts, stage))
    record = launches[0].workload
    cost = once_a_work(cost_of(record, config.infer, counting.attention_flops, counting.logits))
    # Ranks on GPUs have one each; those on CPUs share the machine's.
    devices = 1 if record.rank is None or record.device.device == "cpu" else record.rank.world_size
    peaks = peaks_of(record.device, record.model, config.hardware, facts.measured_peaks(record.device)).of(devices)
    section = config.pipeline.section(stage)
    output = section if isinstance(section, TimedSettings) else None
    ended = facts.of_stage(stage, Launches)
    return Measured(
        launches,
        over_launches([(item.number, stage_metrics(item.workload, item.hardware, cost, peaks)) for item in launches]),
        _predictions(facts.path, stage, output),
        _gallery(facts.path, stage, output),
        tuple(_failed(ended)) if ended is not None else (),
        cost,
        peaks,
    )


def _launched(facts: RunFacts, stage: str) -> Iterator[Launched]:
    """The launches of a stage that timed something, each with what lies beside its record."""
    beside = {(found.file.parent, type(found.record)): found.record for found in facts.records if found.stage == stage}
    for found, workload in facts.all(Workload):
        if found.stage == stage:
            folder = found.file.parent
            hardware = beside.get((folder, HardwareState))
            if hardware is None:
                hardware = HardwareState(recorded=False, reason="no observer of the GPU was on")
            tokens, machine = beside.get((folder, Tokens)), beside.get((folder, MachineState))
            yield Launched(launch_of(folder), workload, hardware, tokens, machine)


def _failed(ended: Launches) -> Iterator[str]:
    for entry in ended.launches:
        if entry.status == "failed":
            counts = "after its timed repeats, which count" if entry.measured else "and does not count"
            yield f"launch {entry.place.launch} failed {counts}: {entry.reason}"


def _predictions(path: Path, stage: str, settings: TimedSettings | None) -> tuple[Prediction, ...]:
    if settings is None or not settings.output.prediction.enable:
        return ()
    file = save_dir(stage_dir(path, stage), settings.output.prediction.save_dir, PRED_DIR) / PREDICTIONS
    # A folder outside the run may have been written by another one since.
    if not file.is_relative_to(path) or not file.exists():
        return ()
    return _read(file, lambda file: tuple(map(Prediction.model_validate_json, read_file(file).splitlines())))


def _gallery(path: Path, stage: str, settings: TimedSettings | None) -> str | None:
    if settings is None or not settings.output.visualization.enable:
        return None
    file = save_dir(stage_dir(path, stage), settings.output.visualization.save_dir, VIZ_DIR) / GALLERY
    return file.relative_to(path).as_posix() if file.is_relative_to(path) and file.exists() else None


def _yaml_as_json(file: Path) -> str:
    import json

    return json.dumps(plain_yaml(read_file(file)))


def _read(file: Path, parse: Callable[[Path], T]) -> T:
    try:
        return parse(file)
    except FileNotFoundError as error:
        raise MissingError(f"{file} is missing from this run", "name a run directory that llmperf wrote") from error
    except (OSError, ValidationError, ValueError, yaml.YAMLError, sqlite3.Error) as error:
        raise MissingError(f"{file} cannot be read: {error}", "restore the file, or run again") from error
