"""Reports and exports of nsys, and kernel tables of nsys stats."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from llm_perf_opt.artifacts.files import copy_file, writing
from llm_perf_opt.artifacts.layout import KERNEL_SUMMARY, NSYS_OUTPUT, export_log
from llm_perf_opt.captures.environments import drop_environments
from llm_perf_opt.captures.nsys import nsys_capture, write_capture
from llm_perf_opt.errors import MissingError, StageError
from llm_perf_opt.formats.nsys_export import NSYS_MAGIC, SQLITE_MAGIC, is_export
from llm_perf_opt.formats.nsys_stats import is_summary_header, read_summary
from llm_perf_opt.importing.importer import ImportContext, Importer, PhaseRule, read_each
from llm_perf_opt.importing.item import Item, outcome_of
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.records.tools import NsysCapture, NsysReport
from llm_perf_opt.stages.base import Progress
from llm_perf_opt.tools import nsys
from llm_perf_opt.tools.command import profiled_environment
from llm_perf_opt.tools.discovery import find_tool
from llm_perf_opt.tools.failures import Ending, judge_nsys
from llm_perf_opt.tools.process import run

if TYPE_CHECKING:
    from llm_perf_opt.captures.nsys_left import Left

REPORT, EXPORT, TABLE = "nsys_report", "nsys_sqlite", "nsys_kernel_table"
CAPTURE_AGAIN = (
    "capture again: the workload on the GPU, cuda in --trace, --cuda-graph-trace=node for kernels in CUDA graphs, an "
    "nsys at least as new as the driver"
)


def recognise(path: Path, start: bytes) -> str | None:
    """The kind of a file."""
    if start.startswith(NSYS_MAGIC):
        return REPORT
    if start.startswith(SQLITE_MAGIC):
        try:
            return EXPORT if is_export(path) else None
        except StageError:
            return EXPORT  # damaged: said when it is read, and it alone fails
    text = start.decode("utf-8", errors="replace")
    return TABLE if any(map(is_summary_header, text.splitlines())) else None


def conflicting(items: Sequence[Item]) -> Sequence[Item]:
    """Only reports and exports can be added up, since they hold every launch."""
    tables = [item for item in items if item.kind == TABLE]
    return [*tables, *(item for item in items if item.kind != TABLE)] if tables and len(items) > 1 else ()


def read(context: ImportContext) -> Outcome:
    items, folder, scratch, progress = context.items, context.folder, context.scratch_dir, context.progress
    if items[0].kind == TABLE:
        return _import_table(items[0], folder, progress)
    captures = _captures(items)
    several = len(captures) > 1
    arguments = [
        CaptureToRead(capture, folder, scratch, tuple(context.rules), number if several else None)
        for number, capture in enumerate(captures, 1)
        if not all(item.read_before for item in capture.values())
    ]
    call = read_capture if several else partial(read_capture, progress=progress)
    found: dict[int, Left] = {}
    for position, ended in read_each(context, "reading reports", call, arguments):
        argument = arguments[position]
        if isinstance(ended, CaptureRead):
            for kind, item in argument.capture.items():
                vars(item).update(vars(ended.capture[kind]))
            if ended.left is not None:
                found[argument.number or 1] = ended.left
        else:
            argument.to_read.problem = ended
    return _joined(context, captures, found)


def _joined(context: ImportContext, captures: Sequence[dict[str, Item]], found: dict[int, Left]) -> Outcome:
    """The record of all reports that could be read, those that were read before too."""
    from llm_perf_opt.captures.nsys_left import place_of, read_left
    from llm_perf_opt.captures.nsys_reports import kernels_of, write_timelines

    for number, capture in enumerate(captures, 1):
        own = place_of(context.folder, number) if len(captures) > 1 else None
        if own is not None and all(item.problem is None for item in capture.values()):
            found[number] = read_left(own)
    if not found:
        return outcome_of(context.items)
    lefts = [found[number] for number in sorted(found)]
    kernels = kernels_of(lefts)
    reports = [left.facts.report for left in lefts]
    write_capture(context.folder, nsys_capture(reports, kernels), kernels)
    write_timelines(context.folder, lefts, keep=len(lefts) < len(captures))
    return outcome_of(context.items, _judged(reports))


@dataclass(frozen=True)
class CaptureToRead:
    """A report, its export, or both, for a process of its own."""

    capture: dict[str, Item]
    """By kind."""
    folder: Path
    """The stage's directory."""
    scratch: Path
    rules: tuple[PhaseRule, ...]
    number: int | None
    """Among several."""

    @property
    def to_read(self) -> Item:
        """The file that is read."""
        return self.capture.get(EXPORT) or self.capture[REPORT]


@dataclass(frozen=True)
class CaptureRead:
    """What became of it."""

    capture: dict[str, Item]
    left: Left | None
    """Of one alone; of several it is in their directories."""


class _Silent:
    def update(self, phase: str, done: int, total: int, steps: int) -> None: ...


_SILENT = _Silent()


def read_capture(asked: CaptureToRead, progress: Progress = _SILENT) -> CaptureRead:
    """Copy and read one capture; it raises nothing that is expected."""
    number, item = asked.number, asked.to_read
    name = NSYS_OUTPUT if number is None else f"{NSYS_OUTPUT}.{number}"
    log = asked.scratch / export_log(number or 1)
    left: list[Left] = []

    def extract() -> None:
        from llm_perf_opt.captures.nsys_reports import read_report

        export = asked.folder / f"{name}.sqlite"
        drop_environments(export)
        job = {"rank": item.rank, "world_size": item.world_size}
        left.append(read_report(item.source.name, export, asked.rules, item.gpu, **job).leave(asked.folder, number))

    _bring_in(asked.capture, asked.folder / name, log, progress)
    if item.problem is None:
        progress.update(f"reading {item.source.name}", 0, 1, 0)
        item.attempt(extract)
    return CaptureRead(asked.capture, left[0] if left and number is None else None)


def kept(item: Item, folder: Path) -> bool:
    """Whether what was read of one of several reports is there."""
    from llm_perf_opt.captures.nsys_left import place_of

    parts = () if item.stored is None else item.stored.name.split(".")
    return len(parts) == 3 and parts[1].isdecimal() and place_of(folder, int(parts[1])) is not None


def _captures(items: Sequence[Item]) -> list[dict[str, Item]]:
    """A report and its export together, where both are there: same folder, same name but for the ending."""
    captures: dict[Path, dict[str, Item]] = {}
    for item in items:
        stem = item.source.absolute().with_suffix("")
        if item.kind in captures.get(stem, {}):
            stem = item.source.absolute()
        captures.setdefault(stem, {})[item.kind] = item
    return list(captures.values())


def _bring_in(capture: dict[str, Item], target: Path, log: Path, progress: Progress) -> None:
    """Copy a report, its export, or both; a report without one is exported."""
    report, export = capture.get(REPORT), capture.get(EXPORT)
    copied = report is not None and report.copy(Path(f"{target}.nsys-rep"), progress)
    if export is not None:
        export.copy(Path(f"{target}.sqlite"), progress, partial(copy_file, clean=lambda copy: _clean(copy, export)))
    elif report is not None and copied:
        progress.update(f"exporting {report.source.name}", 0, 1, 0)
        report.attempt(lambda: _export(Path(f"{target}.nsys-rep"), report, log))


def _export(stored: Path, item: Item, log: Path) -> None:
    source = item.source
    tool = find_tool("nsys")
    if tool is None:
        raise MissingError(
            f"{source} was copied; reading it takes nsys, which was found neither on PATH nor in the usual folders",
            "where nsys is installed: nsys export --type sqlite REPORT, and import the SQLite file; or set "
            "LLMPERF_NSYS to the path of nsys",
        )
    with writing(log):
        log.parent.mkdir(parents=True, exist_ok=True)
    environment = profiled_environment(os.environ)[0]
    finished = run(nsys.export_argv(tool.path, stored), log=log, cwd=Path.cwd(), env=environment)
    if not finished.ok:
        raise StageError(
            f"nsys {tool.version} could not export {source}: it {finished.how_it_ended()}; see {log}",
            "export it with the version that captured it, or a later one",
        )
    _clean(stored.with_suffix(".sqlite"), item)


def _clean(copy: Path, item: Item) -> None:
    """Take the environments out of an export, all but the rank; one that they stay in is not kept.

    Raises:
        StageError: it is damaged.
    """
    from llm_perf_opt.formats.nsys_about import said_rank

    item.rank, item.world_size = said_rank(copy)
    try:
        drop_environments(copy)
    except StageError as error:
        copy.unlink(missing_ok=True)
        why = error.message.removeprefix(f"{copy} ")
        raise StageError(f"{item.source} {why}; it may hold environments and is not kept", error.remedy) from error


def _judged(reports: Sequence[NsysReport]) -> Outcome:
    """Completed, with what the stage would have called a failure as its reason: the file is what it is, and may have
    been captured for its ranges."""
    names, facts = [report.name for report in reports], [report.facts for report in reports]
    failure = judge_nsys(Ending(output="", how="", ok=True), trigger=None, reports=names, facts=facts)
    said = None if failure is None else f"{' '.join(failure.message.split())}; for device time {CAPTURE_AGAIN}"
    return Outcome.completed().model_copy(update={"reason": said})


def _import_table(item: Item, folder: Path, progress: Progress) -> Outcome:
    def read() -> None:
        with (folder / KERNEL_SUMMARY).open(encoding="utf-8", errors="replace") as lines:
            kernels = read_summary(lines)
        if not kernels:
            raise StageError("the table lists no kernel", CAPTURE_AGAIN)
        write_capture(folder, nsys_capture([], kernels), None)

    if item.copy(folder / KERNEL_SUMMARY, progress):
        item.attempt(read)
    return outcome_of([item])


IMPORTER = Importer(
    kinds={
        EXPORT: "nsys export (SQLite)",
        REPORT: "nsys report",
        TABLE: "nsys kernel table (cuda_gpu_kern_sum, CSV)",
    },
    recognise=recognise,
    read=read,
    record=NsysCapture,
    conflicting=conflicting,
    kept=kept,
)
