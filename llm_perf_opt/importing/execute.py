"""From files to a run: recognised, checked, copied and read stage by stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llm_perf_opt.artifacts.claim import place_of
from llm_perf_opt.artifacts.layout import scratch_dir, stage_dir
from llm_perf_opt.artifacts.run_directory import RunDirectory, read_manifest
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.importing.importer import ImportContext, Importer, PhaseRule, phase_rule, rule_words
from llm_perf_opt.importing.item import Item
from llm_perf_opt.importing.parallel import cores
from llm_perf_opt.importing.recognise import is_kind, recognise
from llm_perf_opt.records.manifest import ImportedFile
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.redact import redact_argv
from llm_perf_opt.registry import IMPORTERS, STAGES
from llm_perf_opt.runner import Ended, Listener, StageAction, run_stages
from llm_perf_opt.stages.base import Progress


@dataclass(frozen=True)
class Group:
    """Files that one importer reads."""

    importer: Importer
    items: list[Item]
    world_size: int | None = None
    """Ranks of the job that they are of, where that is known."""


@dataclass(frozen=True)
class ImportPlan:
    """Which files go into which stage of a run."""

    run_path: Path
    numbered: bool
    """The name of `run_path` is the time: the run takes the next number where another one has it by then."""
    groups: dict[str, Group]
    """By the stage whose directory they go into, in the order of the stages."""
    rules: Sequence[PhaseRule] = ()
    again: tuple[str, ...] | None = None
    """The run exists and is gone on with: the stages that are not completed."""


def plan_import(
    files: Sequence[Path],
    runs_dir: Path,
    output: Path | None,
    *,
    gpu: str | None = None,
    rules: Sequence[PhaseRule] = (),
) -> ImportPlan:
    """Recognise every file, those in folders too; nothing is written.

    Args:
        gpu: name of the GPU, for files that do not say it.
        rules: ranges of whatever name that are phases.

    Raises:
        ConfigError: one is of no kind that can be imported, two do not go into one run, or `output` holds a run.
        MissingError: one cannot be read.
    """
    run_path, numbered = place_of(output, runs_dir, None)
    found: dict[str, tuple[Importer, list[Item]]] = {}
    items: list[Item] = []
    for file in _each_file(files):
        kind, importer = recognise(file)
        items.append(Item(file, kind, importer.kinds[kind], file.stat().st_size, gpu))
        found.setdefault(importer.stage, (importer, []))[1].append(items[-1])
    _refuse_same(items)
    return ImportPlan(run_path, numbered, _grouped(found), rules)


def plan_resumption(run_path: Path) -> ImportPlan:
    """What an import that exists has not completed. Of several ranks only those are read that are not stored yet.

    Raises:
        ConfigError: `run_path` holds a run of another kind, or its files do not go into one run any more.
        MissingError: it holds no run, or a file that is left cannot be read.
    """
    manifest = read_manifest(run_path)
    if not manifest.imported:
        raise ConfigError(f"{run_path} holds no imported files", f"go on with it: llmperf run --resume {run_path}")
    importers = {kind: importer for _, importer in IMPORTERS.all(Importer) for kind in importer.kinds}
    found: dict[str, tuple[Importer, list[Item]]] = {}
    for file in manifest.imported:
        importer = importers[file.kind]
        item = Item.again(file, run_path)
        completed = manifest.stages[importer.stage].status == "completed"
        stored = file.stored is not None and file.problem is None
        item.read_before = completed or (stored and importer.kept(item, stage_dir(run_path, importer.stage)))
        if not item.read_before:
            recognise(item.source)
            item.stored = item.sha256 = None
            item.size_bytes = item.source.stat().st_size
        found.setdefault(importer.stage, (importer, []))[1].append(item)
    groups = _grouped(found)
    again = tuple(stage for stage in groups if manifest.stages[stage].status != "completed")
    rules = [phase_rule(text) for text in manifest.imported[0].ranges]
    return ImportPlan(run_path, False, groups, rules, again)


def _each_file(files: Sequence[Path]) -> Iterator[Path]:
    """The files, and in place of a folder those in it that can be imported.

    Raises:
        ConfigError: there is none in a folder.
    """
    for file in files:
        if not file.is_dir():
            yield file
            continue
        inside = [path for path in sorted(file.iterdir()) if not path.name.startswith(".") and is_kind(path)]
        if not inside:
            raise ConfigError(
                f"{file} is a directory without a file that can be imported", "name the files, or the folder with them"
            )
        yield from inside


def _grouped(found: dict[str, tuple[Importer, list[Item]]]) -> dict[str, Group]:
    groups = {}
    for stage in STAGES.builtin():
        if stage in found:
            importer, items = found[stage]
            _refuse_conflicting(importer, items)
            groups[stage] = Group(importer, items, importer.number_ranks(items) if len(items) > 1 else None)
    return groups


def _refuse_same(items: Sequence[Item]) -> None:
    seen: dict[tuple[int, int], Path] = {}
    for item in items:
        status = item.source.stat()
        first = seen.get((status.st_dev, status.st_ino))
        seen[status.st_dev, status.st_ino] = item.source
        if first is not None:
            same = "is named twice" if first == item.source else f"and {first} are the same file"
            raise ConfigError(f"{item.source} {same}", "name it once")


def _refuse_conflicting(importer: Importer, items: Sequence[Item]) -> None:
    found = importer.conflicting(items)
    if found:
        raise ConfigError(
            f"{found[0].source} and {found[1].source} do not go into one run: their figures cannot be added up",
            "import each into a run of its own",
        )


def import_files(plan: ImportPlan, argv: Sequence[str], listener: Listener, jobs: int | None = None) -> Ended:
    """Copy and read every file; one that cannot be read does not stop the others.

    Args:
        jobs: so many files are read at a time where that is possible; None: as many as there are cores.

    Raises:
        ConfigError, MissingError, StageError: there is no place for the run, or it is still going on.
        KeyboardInterrupt: it was interrupted; what was read by then is reported.
    """
    stages = list(plan.groups if plan.again is None else plan.again)
    items = [item for group in plan.groups.values() for item in group.items]
    ranges = {"ranges": tuple(rule_words(rule) for rule in plan.rules)}

    def records(run_path: Path) -> list[ImportedFile]:
        return [item.record(run_path).model_copy(update=ranges) for item in items]

    if plan.again is None:
        directory = RunDirectory.create(
            plan.run_path,
            argv=redact_argv(argv),
            stages=stages,
            numbered=plan.numbered,
            imported=records(plan.run_path),
        )
    else:
        directory = RunDirectory.reopen(plan.run_path, again=stages)
    run_path = directory.path

    def save() -> None:
        directory.record_imports(records(run_path))

    def action_of(stage: str) -> StageAction:
        def action(progress: Progress) -> Outcome:
            group = plan.groups[stage]
            folder, scratch = stage_dir(run_path, stage), scratch_dir(run_path, stage)
            context = ImportContext(
                group.items,
                folder,
                scratch,
                progress,
                plan.rules,
                world_size=group.world_size,
                jobs=jobs if jobs is not None else cores(),
                save=save,
            )
            try:
                return group.importer.read(context)
            finally:
                save()

        return action

    return run_stages(directory, {stage: action_of(stage) for stage in stages}, listener, write_facts=save)
