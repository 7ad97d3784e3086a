"""From files to a run: recognised, checked, copied and read stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from llm_perf_opt.artifacts.layout import scratch_dir, stage_dir
from llm_perf_opt.artifacts.run_directory import RunDirectory, new_path, refuse_existing
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.importing.importer import ImportContext, Importer
from llm_perf_opt.importing.item import Item
from llm_perf_opt.importing.recognise import recognise
from llm_perf_opt.records.manifest import Manifest
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.redact import redact_argv
from llm_perf_opt.registry import STAGES
from llm_perf_opt.run import Observer, carry_out
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
    groups: dict[str, Group]
    """By the stage whose directory they go into, in the order of the stages."""


def prepare(files: Sequence[Path], runs_dir: Path, output: Path | None) -> ImportPlan:
    """Recognise every file; nothing is written.

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
        items.append(Item(file, kind, importer.kinds[kind], file.stat().st_size))
        groups.setdefault(importer.stage, Group(importer, [])).items.append(items[-1])
    _refuse_same(items)
    for group in groups.values():
        _refuse_conflicting(group)
    ordered = {stage: groups[stage] for stage in STAGES.builtin() if stage in groups}
    return ImportPlan(run_path, ordered)


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


def execute(plan: ImportPlan, argv: Sequence[str], observer: Observer) -> Manifest:
    """Copy and read every file; one that cannot be read does not stop the others."""
    directory = RunDirectory.create(plan.run_path, argv=redact_argv(argv), stages=list(plan.groups))
    items = [item for group in plan.groups.values() for item in group.items]

    def save() -> None:
        directory.record_imports([item.record(plan.run_path) for item in items])

    def work_of(stage: str) -> Callable[[Progress], Outcome]:
        def work(progress: Progress) -> Outcome:
            group = plan.groups[stage]
            folder, scratch = stage_dir(plan.run_path, stage), scratch_dir(plan.run_path, stage)
            try:
                return group.importer.read(ImportContext(group.items, folder, scratch, progress))
            finally:
                save()

        return work

    save()
    carry_out(directory, {stage: work_of(stage) for stage in plan.groups}, observer)
    return directory.manifest
