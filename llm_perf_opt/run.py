"""Executes a plan: stage after stage, each outcome recorded as it is known, reports at the end."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.artifacts.layout import CONFIG, ENVIRONMENT, INPUTS, RUN_LOG
from llm_perf_opt.artifacts.run_directory import RunDirectory, new_path, read_manifest, refuse_existing
from llm_perf_opt.config.dump import to_yaml
from llm_perf_opt.config.load import load_config
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import ConfigError, LlmperfError
from llm_perf_opt.hardware.host import environment_record
from llm_perf_opt.plan.model import Plan, build_plan
from llm_perf_opt.records.environment import ExtensionRecord
from llm_perf_opt.records.inputs import Inputs
from llm_perf_opt.records.manifest import Manifest
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.redact import HIDDEN, redact_argv
from llm_perf_opt.registry import loaded_third_party
from llm_perf_opt.reports.write import write_reports
from llm_perf_opt.stages.base import Progress
from llm_perf_opt.stages.enabled import EnabledStage, enabled_stages
from llm_perf_opt.workload.adapter import find_adapter
from llm_perf_opt.workload.inputs import find_inputs


class Observer(Protocol):
    """Who is told what happens (the command line)."""

    def stage_begins(self, name: str) -> Progress: ...

    def stage_ends(self, name: str, outcome: Outcome) -> None: ...

    def note(self, message: str) -> None: ...


def prepare(config: Config, output: Path | None) -> Plan:
    """Everything that can be known, and refused, before anything runs.

    Raises:
        ConfigError, MissingError: something the run needs is wrong or not there.
    """
    run_path = output if output is not None else new_path(Path(config.artifacts.runs_dir), config.artifacts.run_id)
    refuse_existing(run_path)
    return _plan(config, run_path)


def prepare_resume(run_path: Path) -> Plan:
    """What a run that exists has not completed, with the configuration it was started with.

    Raises:
        ConfigError, MissingError: `run_path` holds no run, or something it needs is gone.
    """
    manifest = read_manifest(run_path)
    if manifest.imported:
        raise ConfigError(f"{run_path} holds imported files, so there is nothing to go on with", "start a new run")
    entries = manifest.stages
    config = load_config(run_path / CONFIG, environ={}).config
    if any(HIDDEN in word for word in config.pipeline.workload.command or ()):
        raise ConfigError(
            f"{run_path} cannot be resumed: its workload command held a secret, which was not kept", "start a new run"
        )
    plan = _plan(config, run_path)
    pending = tuple(stage for stage in plan.stages if entries[stage.name].status != "completed")
    return replace(plan, stages=pending)


def _plan(config: Config, run_path: Path) -> Plan:
    stages = enabled_stages(config)
    if not stages:
        raise ConfigError("no stage is enabled", "enable one: pipeline.torch_profiler.enable=true")
    return build_plan(config, _inputs(config, stages), run_path, stages)


def _inputs(config: Config, stages: Sequence[EnabledStage]) -> Inputs:
    """The samples; none are looked for when no stage reads them, and no model when all launch something else."""
    needs = {stage.needs(config) for stage in stages}
    if needs == {"nothing"}:
        return Inputs(samples=(), epochs=())
    adapter = find_adapter(config.model.name)
    adapter.model_config(config)  # a model that is not there is refused now, not after a minute of imports
    if "samples" not in needs:
        return Inputs(samples=(), epochs=())
    return find_inputs(config.dataset, adapter.modality)


def execute(plan: Plan, argv: Sequence[str], observer: Observer) -> Manifest:
    """Run every stage of `plan`, in order; one that fails does not stop the others.

    An interrupt ends the run as interrupted and is raised again; what was measured by then is reported.
    """
    names = [stage.name for stage in plan.stages]
    directory = RunDirectory.create(plan.run_path, argv=redact_argv(argv), stages=names)
    _write_facts(directory, plan)
    _run_stages(directory, plan, enabled_stages(plan.config), observer)
    return directory.manifest


def resume(plan: Plan, observer: Observer) -> Manifest:
    """Run the stages of a plan made by `prepare_resume`."""
    directory = RunDirectory.reopen(plan.run_path)
    names = {stage.name for stage in plan.stages}
    pending = [stage for stage in enabled_stages(plan.config) if stage.name in names]
    _run_stages(directory, plan, pending, observer)
    return directory.manifest


def _write_facts(directory: RunDirectory, plan: Plan) -> None:
    write_text(directory.path / CONFIG, to_yaml(_without_secrets(plan.config)))
    extensions = tuple(ExtensionRecord(**vars(found)) for found in loaded_third_party())
    directory.write_json(ENVIRONMENT, environment_record().model_copy(update={"extensions": extensions}))
    write_text(directory.path / INPUTS, _as_yaml(plan.inputs))


def _without_secrets(config: Config) -> Config:
    """`config` with the secrets of a foreign command hidden."""
    workload = config.pipeline.workload
    if workload.command is None:
        return config
    hidden = workload.model_copy(update={"command": tuple(redact_argv(workload.command))})
    return config.model_copy(update={"pipeline": config.pipeline.model_copy(update={"workload": hidden})})


def _as_yaml(inputs: Inputs) -> str:
    import yaml

    return yaml.safe_dump(inputs.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _run_stages(directory: RunDirectory, plan: Plan, stages: Sequence[EnabledStage], observer: Observer) -> None:
    def work_of(stage: EnabledStage) -> Callable[[Progress], Outcome]:
        return lambda progress: stage.run(plan.config, plan.inputs, directory.path, progress)

    carry_out(directory, {stage.name: work_of(stage) for stage in stages}, observer)


def carry_out(directory: RunDirectory, stages: Mapping[str, Callable[[Progress], Outcome]], observer: Observer) -> None:
    """Do the work of every stage, in order, record its outcome, then write the reports and end the run."""
    try:
        for name, work in stages.items():
            directory.begin(name)
            progress = observer.stage_begins(name)
            outcome = _attempt(lambda work=work, progress=progress: work(progress), directory)  # type: ignore[misc]
            directory.end(name, outcome)
            observer.stage_ends(name, outcome)
    except BaseException:
        directory.interrupt()
        _report(directory, observer)
        directory.close("interrupted", 130)
        raise
    _report(directory, observer)
    exit_code = exit_code_of(directory.manifest)
    directory.close("completed" if exit_code == 0 else "failed", exit_code)


def _attempt(action: Callable[[], Outcome], directory: RunDirectory) -> Outcome:
    """The outcome of a stage, whatever it raises."""
    try:
        return action()
    except LlmperfError as error:
        return Outcome.failed(error.message, error.remedy or None, error.exit_code)
    except Exception as error:  # noqa: BLE001 - the stage boundary: one stage must not take down the others
        directory.log(traceback.format_exc())
        return Outcome.failed(f"{type(error).__name__}: {error}", f"a defect of llmperf: the traceback is in {RUN_LOG}")


def _report(directory: RunDirectory, observer: Observer) -> None:
    try:
        write_reports(directory.path, directory.manifest)
    except LlmperfError as error:
        observer.note(f"the reports could not be written: {error}")


def exit_code_of(manifest: Manifest) -> int:
    """3 where something was missing, else 2 where settings were refused, else 1 where a stage failed, else 0."""
    codes = {entry.exit_code for entry in manifest.stages.values() if entry.status == "failed"}
    return 3 if 3 in codes else max(codes, default=0)
