"""From a configuration, or a run that was not completed, to a run."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path

from llm_perf_opt.artifacts.claim import place_of
from llm_perf_opt.artifacts.digests import Damage, Digests, is_report
from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.artifacts.layout import CONFIG, ENVIRONMENT, INPUTS
from llm_perf_opt.artifacts.run_directory import RunDirectory, read_manifest
from llm_perf_opt.config.dump import to_dict, to_yaml
from llm_perf_opt.config.load import load_config
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import ConfigError, MissingError
from llm_perf_opt.hardware.host import environment_record
from llm_perf_opt.plan.model import Plan, build_plan
from llm_perf_opt.records.environment import EnvironmentRecord, ExtensionRecord
from llm_perf_opt.records.inputs import Inputs
from llm_perf_opt.records.manifest import Manifest
from llm_perf_opt.redact import hidden_paths, redact_argv, redact_tree
from llm_perf_opt.registry import loaded_third_party
from llm_perf_opt.runner import Ended, Listener, StageAction, run_stages
from llm_perf_opt.stages.base import Needs
from llm_perf_opt.stages.enabled import EnabledStage, enabled_stages
from llm_perf_opt.stages.given import announced
from llm_perf_opt.stages.save_dirs import refuse_used_folders
from llm_perf_opt.workload.adapter import check_preprocess, find_adapter
from llm_perf_opt.workload.choice import with_model_chosen
from llm_perf_opt.workload.inputs import find_inputs
from llm_perf_opt.workload.ranks import ranks_of
from llm_perf_opt.workload.shardable import check_sharding


def plan_run(config: Config, output: Path | None) -> Plan:
    """Everything that can be known, and refused, before anything runs.

    Raises:
        ConfigError, MissingError: something the run needs is wrong or not there.
    """
    run_path, numbered = place_of(output, Path(config.artifacts.runs_dir), config.artifacts.run_id)
    return replace(plan_new(config, run_path), numbered=numbered)


def plan_new(config: Config, run_path: Path) -> Plan:
    """A run in a place that is free, or that is claimed before the run begins.

    Raises:
        ConfigError, MissingError: as `plan_run`.
    """
    try:
        str(run_path).encode()
    except UnicodeEncodeError as error:  # the children are told of it in JSON
        raise ConfigError(
            f"the run directory {str(run_path)!a} is not UTF-8", "choose another with --output"
        ) from error
    refuse_used_folders(config, run_path)
    return plan_at(config, run_path)


@dataclass(frozen=True)
class Resumption:
    """What is left to do of a run."""

    plan: Plan
    """Its stages are those that are not completed, and those whose files are no longer what they left."""
    damaged: tuple[Damage, ...]
    """Files that are missing or were changed since."""


def plan_resumption(run_path: Path) -> Resumption:
    """What a run that exists has not completed, with the configuration it was started with.

    Raises:
        ConfigError, MissingError: `run_path` holds no run, or something it needs is gone.
    """
    manifest = read_manifest(run_path)
    if manifest.imported:
        raise ConfigError(f"{run_path} holds imported files", f"go on with it: llmperf import --resume {run_path}")
    damaged = _damaged(run_path, manifest)
    if CONFIG not in manifest.artifacts and not (run_path / CONFIG).exists():
        raise MissingError(f"{run_path} was ended before it began: there is nothing to go on with", "start a new run")
    config = config_of(run_path)
    if manifest.hidden:
        raise ConfigError(
            f"{run_path} cannot be resumed: {', '.join(manifest.hidden)} held a secret, which was not kept",
            "start a new run",
        )
    plan = plan_at(config, run_path)
    pending = []
    for stage in plan.stages:
        if stage.name not in manifest.stages:
            raise MissingError(
                f"{run_path} is not what its manifest says: {CONFIG} asks for {stage.name}, which is not in it",
                "start a new run",
            )
        lost = [damage for damage in damaged if damage.file.startswith(f"{stage.name}/")]
        if lost:
            notes = tuple(f"made again: {damage}" for damage in lost)
            pending.append(replace(stage, notes=(*stage.notes, *notes)))
        elif manifest.stages[stage.name].status != "completed":
            pending.append(stage)
    return Resumption(replace(plan, stages=tuple(pending)), damaged)


def config_of(run_path: Path) -> Config:
    """The configuration that a run was started with.

    Raises:
        ConfigError, MissingError: it cannot be read.
    """
    return load_config(run_path / CONFIG, environ={}).config


def _damaged(run_path: Path, manifest: Manifest) -> tuple[Damage, ...]:
    """What completed stages and the run itself left and that is not there any more, or not as it was.

    Raises:
        MissingError: the configuration is among it, which nothing can make again.
    """
    completed = {name for name, entry in manifest.stages.items() if entry.status == "completed"}
    names = [
        name
        for name in manifest.artifacts
        if not is_report(name) and (name in (CONFIG, ENVIRONMENT, INPUTS) or name.split("/", 1)[0] in completed)
    ]
    damaged = Digests(run_path).damage(manifest.artifacts, names)
    for damage in damaged:
        if damage.file == CONFIG:
            raise MissingError(
                f"{run_path / CONFIG} is not what the manifest says: it {damage.what}", "restore it, or start a new run"
            )
    return tuple(damaged)


def plan_at(config: Config, run_path: Path) -> Plan:
    """What a run of `config` in `run_path` would do, whether or not there is one already.

    Raises:
        ConfigError, MissingError: as `plan_run`.
    """
    stages = enabled_stages(config)
    if not stages:
        raise ConfigError("no stage is enabled", "enable one: pipeline.torch_profiler.enable=true")
    needs = {stage.needs(config) for stage in stages}
    if needs == {"nothing"}:
        return build_plan(config, Inputs(samples=(), epochs=()), run_path, stages)
    config = with_model_chosen(config)
    return build_plan(config, _inputs(config, needs), run_path, stages)


def _inputs(config: Config, needs: AbstractSet[Needs]) -> Inputs:
    """The samples; none are looked for when no stage reads them."""
    adapter = find_adapter(config.model.name)
    # A model that is not there, or may not run, is refused now, not after a minute of imports.
    check_sharding(config, adapter, adapter.model_config(config))
    check_preprocess(adapter, config)
    if "samples" in needs and adapter.permit is not None:
        adapter.permit(config)
    if not needs & {"files", "samples"}:
        return Inputs(samples=(), epochs=())
    return find_inputs(config.dataset, adapter.modality, rows=config.infer.batch_size)


def start(plan: Plan, argv: Sequence[str], listener: Listener) -> Ended:
    """Run every stage of `plan` into a run directory of its own, which another name may have taken meanwhile.

    Raises:
        ConfigError, MissingError, StageError: there is no place for the run.
        KeyboardInterrupt: the run was interrupted; what was measured by then is reported.
    """
    stages = _stages(plan)
    names = [stage.name for stage in stages]
    environment = run_environment()  # takes a while, in which there is no run yet that could be killed
    directory = RunDirectory.create(plan.run_path, argv=redact_argv(argv), stages=names, numbered=plan.numbered)
    actions = _actions(directory.path, plan, stages)
    with announced(plan.config, ranks_of(os.environ), directory.path):
        return run_stages(directory, actions, listener, write_facts=lambda: _write_facts(directory, plan, environment))


def resume(resumption: Resumption, listener: Listener) -> Ended:
    """Run the stages that are left.

    Raises:
        ConfigError: the run is still going on.
        KeyboardInterrupt: the run was interrupted again.
    """
    plan = resumption.plan
    for damage in resumption.damaged:
        listener.note(f"{damage}: made again")
    stages = _stages(plan)
    pending = [stage.name for stage in stages]
    directory = RunDirectory.reopen(plan.run_path, again=pending, damaged=resumption.damaged)
    actions = _actions(directory.path, plan, stages)
    with announced(plan.config, ranks_of(os.environ), directory.path):
        return run_stages(directory, actions, listener, write_facts=lambda: _restore_facts(directory, plan))


@dataclass(frozen=True)
class Opened:
    """A run directory that is being written, and what is to be written into it first."""

    directory: RunDirectory
    write_facts: Callable[[], None]


def open_run(
    plan: Plan,
    argv: Sequence[str],
    path: Path,
    resumption: Resumption | None,
    *,
    again: Sequence[str],
    environment: EnvironmentRecord,
) -> Opened:
    """The run of `plan` in `path`, made or taken up again, for who carries out its stages itself.

    Args:
        again: stages that are pending.
        environment: that of the runs that begin now.

    Raises:
        ConfigError, MissingError, StageError: there is no place for it, or another process is writing it.
    """
    if resumption is None:
        directory = RunDirectory.create(path, argv=redact_argv(argv), stages=again)
        return Opened(directory, lambda: _write_facts(directory, plan, environment))
    directory = RunDirectory.reopen(path, again=again, damaged=resumption.damaged)
    return Opened(directory, lambda: _restore_facts(directory, plan))


def _write_facts(directory: RunDirectory, plan: Plan, environment: EnvironmentRecord) -> None:
    write_text(directory.path / CONFIG, to_yaml(plan.config, hide=True))
    directory.write_json(ENVIRONMENT, environment)
    write_text(directory.path / INPUTS, _as_yaml(plan.inputs))
    directory.record_hidden(tuple(hidden_paths(to_dict(plan.config))))


def run_environment() -> EnvironmentRecord:
    """What a run that begins now runs in."""
    extensions = tuple(ExtensionRecord(**vars(found)) for found in loaded_third_party())
    return environment_record().model_copy(update={"extensions": extensions})


def _restore_facts(directory: RunDirectory, plan: Plan) -> None:
    """Write what is not there: a run may have been killed before it was."""
    if not (directory.path / ENVIRONMENT).exists():
        directory.write_json(ENVIRONMENT, run_environment())
    if not (directory.path / INPUTS).exists():
        write_text(directory.path / INPUTS, _as_yaml(plan.inputs))


def _as_yaml(inputs: Inputs) -> str:
    import yaml

    return yaml.safe_dump(redact_tree(inputs.model_dump(mode="json")), sort_keys=False, allow_unicode=True)


def _stages(plan: Plan) -> list[EnabledStage]:
    names = {stage.name for stage in plan.stages}
    return [stage for stage in enabled_stages(plan.config) if stage.name in names]


def _actions(run_path: Path, plan: Plan, stages: Sequence[EnabledStage]) -> dict[str, StageAction]:
    def action_of(stage: EnabledStage) -> StageAction:
        return lambda progress: stage.run(plan.config, plan.inputs, run_path, progress)

    return {stage.name: action_of(stage) for stage in stages}
