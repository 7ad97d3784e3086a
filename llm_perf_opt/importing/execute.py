"""From files to a run: recognised, checked, copied and read stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from llm_perf_opt.artifacts.claim import new_path, refuse_existing
from llm_perf_opt.artifacts.run_directory import RunDirectory
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.importing.item import Item
from llm_perf_opt.importing.ncu import import_ncu
from llm_perf_opt.importing.nsys import import_nsys
from llm_perf_opt.importing.trace import import_trace
from llm_perf_opt.plan.paths import scratch_dir, stage_dir
from llm_perf_opt.records.manifest import FileKind
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.redact import redact_argv
from llm_perf_opt.runner import Ended, Listener, StageAction, run_stages
from llm_perf_opt.stages.base import Progress
from llm_perf_opt.tools.recognise import recognise

Importer = Callable[[list[Item], Path, Path, Progress], Outcome]
"""(its files, directory of the stage, directory for logs, progress) → how it ended."""

STAGES: dict[str, tuple[Importer, tuple[FileKind, ...]]] = {
    "torch_profiler": (import_trace, ("torch_trace",)),
    "nsys": (import_nsys, ("nsys_sqlite", "nsys_report", "nsys_kernel_table")),
    "ncu": (import_ncu, ("ncu_report", "ncu_raw_csv")),
}
"""Which stage takes which kinds of files."""


@dataclass(frozen=True)
class ImportPlan:
    """Which files go into which stage of a run."""

    run_path: Path
    numbered: bool
    """The name of `run_path` is the time: the run takes the next number where another one has it by then."""
    stages: dict[str, list[Item]]


def plan_import(files: Sequence[Path], runs_dir: Path, output: Path | None) -> ImportPlan:
    """Recognise every file; nothing is written.

    Raises:
        ConfigError: one is of no kind that can be imported, two do not go into one run, or `output` holds a run.
        MissingError: one cannot be read.
    """
    run_path = output if output is not None else new_path(runs_dir, None)
    refuse_existing(run_path)
    items = [Item(file, recognise(file), file.stat().st_size) for file in files]
    _refuse_same(items)
    _refuse_several(items)
    grouped = {stage: [item for item in items if item.kind in kinds] for stage, (_, kinds) in STAGES.items()}
    return ImportPlan(run_path, output is None, {stage: found for stage, found in grouped.items() if found})


def _refuse_same(items: Sequence[Item]) -> None:
    seen: dict[tuple[int, int], Path] = {}
    for item in items:
        status = item.source.stat()
        first = seen.get((status.st_dev, status.st_ino))
        seen[status.st_dev, status.st_ino] = item.source
        if first is not None:
            same = "is named twice" if first == item.source else f"and {first} are the same file"
            raise ConfigError(f"{item.source} {same}", "name it once")


def _refuse_several(items: Sequence[Item]) -> None:
    """Only nsys exports can be added up, since they hold every launch."""
    tables = [item for item in items if item.kind == "nsys_kernel_table"]
    timelines = [item for item in items if item.kind in ("nsys_sqlite", "nsys_report")]
    for found in (
        [item for item in items if item.kind == "torch_trace"],
        [item for item in items if item.kind in ("ncu_report", "ncu_raw_csv")],
        [*tables, *timelines] if tables else [],
    ):
        if len(found) > 1:
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
    stages, numbered = list(plan.stages), plan.numbered
    directory = RunDirectory.create(plan.run_path, argv=redact_argv(argv), stages=stages, numbered=numbered)
    run_path = directory.path
    items = [item for found in plan.stages.values() for item in found]

    def save() -> None:
        directory.record_imports([item.record(run_path) for item in items])

    def action_of(stage: str) -> StageAction:
        def action(progress: Progress) -> Outcome:
            importer, _ = STAGES[stage]
            folder, scratch = stage_dir(run_path, stage), scratch_dir(run_path, stage)
            try:
                return importer(plan.stages[stage], folder, scratch, progress)
            finally:
                save()

        return action

    return run_stages(directory, {stage: action_of(stage) for stage in stages}, listener, write_facts=save)
