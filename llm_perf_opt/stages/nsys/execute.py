"""Running nsys, exporting what it left, and judging that."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.artifacts.layout import (
    COMMAND,
    DRILL_DOWN,
    FACTS,
    KERNEL_SUMMARY,
    KERNELS,
    NSYS_OUTPUT,
    NSYS_REPORT,
    TIMELINE,
    TIMELINE_TABLE,
    drill_down_file,
    export_log,
    report_dirs,
    timeline_file,
    timeline_table,
)
from llm_perf_opt.captures.environments import drop_environments
from llm_perf_opt.captures.nsys import nsys_capture, write_capture
from llm_perf_opt.errors import StageError
from llm_perf_opt.plan.model import PlannedStage
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.records.tools import NsysReport
from llm_perf_opt.stages.base import PlanContext, StageContext
from llm_perf_opt.stages.known_ranges import check_trigger
from llm_perf_opt.stages.nsys import argv
from llm_perf_opt.stages.nsys.settings import Nsys
from llm_perf_opt.stages.range_check import check_ranges, explained, range_remarks
from llm_perf_opt.stages.wrapped import (
    ToolRun,
    changed_environment,
    foreign_command,
    launched_command,
    planned_tool,
    ranks_under_tool,
)
from llm_perf_opt.tools import nsys
from llm_perf_opt.tools.command import profiled_environment
from llm_perf_opt.tools.discovery import require_tool
from llm_perf_opt.tools.failures import judge_nsys, workload_remark
from llm_perf_opt.tools.nvtx import parse_capture
from llm_perf_opt.tools.options import Version, parse_version
from llm_perf_opt.workload.order import Capture, captured_argv

if TYPE_CHECKING:
    from llm_perf_opt.captures.nsys_left import Left


def plan(context: PlanContext[Nsys]) -> PlannedStage:
    settings, directory = context.settings, context.output_dir
    if settings.capture_range == "nvtx" and settings.gating_nvtx and foreign_command(context.config) is None:
        check_trigger(context.config, settings.nvtx_capture or "")
    program, tool, version = planned_tool("nsys", os.environ)
    capture = _capture_argv(program, context, launched_command(context), version)
    world = ranks_under_tool(context.config)
    ranks = argv.captured_ranks(settings, world) if world > 1 else ()
    whose = (f"captured: rank {', '.join(map(str, ranks))} of {world}, one report each",) if ranks else ()
    export = nsys.export_argv(program, directory / NSYS_REPORT)
    return PlannedStage(
        context.name,
        directory,
        (tuple(capture), tuple(export)),
        notes=(*argv.notes(settings, version), *whose),
        tool=tool,
        environment=changed_environment(context.config),
        left_out=profiled_environment(os.environ)[1],
        files=(
            *argv.expected_files(settings),
            KERNEL_SUMMARY,
            KERNELS,
            FACTS,
            timeline_file(),
            timeline_table(),
            drill_down_file(),
            COMMAND,
        ),
    )


def execute(context: StageContext[Nsys]) -> Outcome:
    from llm_perf_opt.captures.nsys_reports import kernels_of, write_timelines

    settings = context.settings
    tool = require_tool("nsys")
    waits_for_range = settings.capture_range == "nvtx" and settings.gating_nvtx
    bracketed = settings.capture_range == "cudaProfilerApi"
    capture = Capture(profiler_api="measured" if bracketed else None, needs_ranges=waits_for_range)
    launch = ToolRun(context, context.config, context.inputs, capture)
    directory = context.output_dir
    _remove_old(directory)
    version = parse_version(tool.version) or None
    command = _capture_argv(tool.path, context, launch.command, version)
    write_text(directory / COMMAND, launch.command_text(command))
    finished = launch.run(command, settings.timeout_s)
    exports = _Exports(launch, tool.path, settings)
    if not finished.timed_out:
        exports.make(directory)

    ending = launch.ending(finished, exports.output)
    failure = judge_nsys(
        ending,
        trigger=argv.trigger_words(settings),
        reports=[report.name for report in nsys.reports(directory)],
        streams=[stream.name for stream in nsys.raw_streams(directory)],
        facts=[report.facts for report in exports.reports],
        expects_kernels=_traces(settings, "cuda") and launch.on_gpu,
    )
    sent = launch.ranges
    waited_for = parse_capture(settings.nvtx_capture or "").range if waits_for_range else None
    failure = explained(failure, sent, tool="nsys", waited_for=waited_for)
    whole = not argv.waits_for_trigger(settings)
    # nsys traces NVTX wherever it waits for a range.
    listens = waits_for_range or _traces(settings, "nvtx")
    # Every rank sends the same; what was sent is counted on the first.
    files = [file for file in exports.files if ".rank-" not in file.name or ".rank-0." in file.name]
    check = check_ranges(sent, files, whole=whole, waited_for=waited_for) if listens and (files or whole) else None
    kernels = kernels_of(exports.read)
    record = nsys_capture(
        exports.reports,
        kernels,
        tool=tool,
        trigger=argv.trigger_words(settings),
        device=launch.device,
        failure=failure,
    ).model_copy(
        update={
            "range_sender": sent.sender if sent is not None else None,
            "range_sender_reason": sent.reason if sent is not None else None,
            "ranges": check,
        }
    )
    write_capture(directory, record, kernels if exports.files else None)
    write_timelines(directory, exports.read)
    remark = workload_remark("nsys", ending, ended_by_tool=argv.ends_workload(settings))
    remarks = [remark] if remark is not None else []
    return launch.outcome(failure, [*remarks, *range_remarks(check, sent, listens=listens)])


def _capture_argv(program: str, context: PlanContext[Nsys], child: Sequence[str], version: Version | None) -> list[str]:
    world = ranks_under_tool(context.config)
    tool = argv.profile_argv(program, context.settings, context.output_dir, child, version, of_rank=world > 1)
    if world == 1:
        return tool
    return captured_argv(tool, child, context.config.parallel, argv.captured_ranks(context.settings, world))


def _traces(settings: Nsys, wanted: str) -> bool:
    return any(api.strip().split("-")[0] == wanted for api in settings.trace.split(","))


def _remove_old(directory: Path) -> None:
    """A report of an earlier attempt, or its time line, must not pass for this one's."""
    reports = (f"{NSYS_OUTPUT}{ending}" for ending in ("*.nsys-rep", "*.sqlite", "*.qdstrm"))
    for pattern in (*reports, TIMELINE, TIMELINE_TABLE, DRILL_DOWN):
        for file in directory.glob(pattern):
            file.unlink()
    for folder in report_dirs(directory):
        shutil.rmtree(folder)


def _clean(file: Path) -> None:
    """Take the environments out of an export; one that they stay in is not kept."""
    try:
        drop_environments(file)
    except StageError:
        file.unlink(missing_ok=True)
        raise


class _Exports:
    """The reports of a capture as SQLite, and what they hold."""

    def __init__(self, launch: ToolRun, program: str, settings: Nsys) -> None:
        self.files: list[Path] = []
        self.read: list[Left] = []
        self.output = ""
        """What was printed while exporting."""
        self._launch = launch
        self._program = program
        self._settings = settings

    @property
    def reports(self) -> list[NsysReport]:
        return [left.facts.report for left in self.read]

    def make(self, directory: Path) -> None:
        """Export every report in `directory`; one that cannot be exported or read is passed over."""
        reports = nsys.reports(directory)
        for number, report in enumerate(reports, 1):
            export = nsys.export_argv(self._program, report)
            commands = (directory / COMMAND).read_text(encoding="utf-8")
            write_text(directory / COMMAND, commands + self._launch.command_text(export))
            finished, log = self._launch.run_helper(export, export_log(number), self._settings.timeout_s)
            self.output += "\n" + log.read_text(errors="replace")
            if finished.ok:
                self._read(report, number if len(reports) > 1 else None)

    def _read(self, report: Path, number: int | None) -> None:
        from llm_perf_opt.captures.nsys_reports import read_report

        file = report.with_suffix(".sqlite")
        try:
            _clean(file)
            self.read.append(read_report(report.name, file).leave(report.parent, number))
            self.files.append(file)
        except StageError as error:
            self.output += f"\n{error.message}"
