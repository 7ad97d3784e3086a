"""From files to a run: recognised, checked, copied and read stage by stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llm_perf_opt.artifacts.claim import new_path, refuse_existing
from llm_perf_opt.artifacts.layout import scratch_dir, stage_dir
from llm_perf_opt.artifacts.run_directory import RunDirectory
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.importing.importer import ImportContext, Importer, PhaseRule
from llm_perf_opt.importing.item import Item
from llm_perf_opt.importing.recognise import recognise
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.redact import redact_argv
from llm_perf_opt.registry import STAGES
from llm_perf_opt.runner import Ended, Listener, StageAction, run_stages
from llm_perf_opt.stages.base import Progress


@dataclass(frozen=True)
class Group:
    """Files that one importer reads."""

    importer: Importer
    items: list[Item]


@dataclass(frozen=True)
class ImportPlan:
    """Which files go into which stage of a run."""

    run_path: Path
    numbered: bool
    """The name of `run_path` is the time: the run takes the next number where another one has it by then."""
    groups: dict[str, Group]
    """By the stage whose directory they go into, in the order of the stages."""
    rules: Sequence[PhaseRule] = ()


def plan_import(
    files: Sequence[Path],
    runs_dir: Path,
    output: Path | None,
    *,
    gpu: str | None = None,
    rules: Sequence[PhaseRule] = (),
) -> ImportPlan:
    """Recognise every file; nothing is written.

    Args:
        gpu: name of the GPU, for files that do not say it.
        rules: ranges of whatever name that are phases.

    Raises:
        ConfigError: one is of no kind that can be imported, two do not go into one run, or `output` holds a run.
        MissingError: one cannot be read.
    """
    run_path = output if output is not None else new_path(runs_dir, None)
    refuse_existing(run_path)
    items: list[Item] = []
    groups: dict[str, Group] = {}
    for file in files:
        kind, importer = recognise(file)
        items.append(Item(file, kind, importer.kinds[kind], file.stat().st_size, gpu))
        groups.setdefault(importer.stage, Group(importer, [])).items.append(items[-1])
    _refuse_same(items)
    for group in groups.values():
        _refuse_conflicting(group)
    ordered = {stage: groups[stage] for stage in STAGES.builtin() if stage in groups}
    return ImportPlan(run_path, output is None, ordered, rules)


def _refuse_same(items: Sequence[Item]) -> None:
    seen: dict[tuple[int, int], Path] = {}
    for item in items:
        status = item.source.stat()
        first = seen.get((status.st_dev, status.st_ino))
        seen[status.st_dev, status.st_ino] = item.source
        if first is not None:
            same = "is named twice" if first == item.source else f"and {first} are the same file"
            raise ConfigError(f"{item.source} {same}", "name it once")


def _refuse_conflicting(group: Group) -> None:
    found = group.importer.conflicting(group.items)
    if found:
        raise ConfigError(
            f"{found[0].source} and {found[1].source} do not go into one run: their figures cannot be added up",
            "import each into a run of its own",
        )


def import_files(plan: ImportPlan, argv: Sequence[str], listener: Listener) -> Ended:
    """Copy and read every file; one that cannot be read does not stop the others.

    Raises:
        ConfigError, MissingError, StageError: there is no place for the run.
        KeyboardInterrupt: it was interrupted; what was read by then is reported.
    """
    stages, numbered = list(plan.groups), plan.numbered
    directory = RunDirectory.create(plan.run_path, argv=redact_argv(argv), stages=stages, numbered=numbered)
    run_path = directory.path
    items = [item for group in plan.groups.values() for item in group.items]

    def save() -> None:
        directory.record_imports([item.record(run_path) for item in items])

    def action_of(stage: str) -> StageAction:
        def action(progress: Progress) -> Outcome:
            group = plan.groups[stage]
            folder, scratch = stage_dir(run_path, stage), scratch_dir(run_path, stage)
            try:
                return group.importer.read(ImportContext(group.items, folder, scratch, progress, plan.rules))
            finally:
                save()

        return action

    return run_stages(directory, {stage: action_of(stage) for stage in stages}, listener, write_facts=save)
