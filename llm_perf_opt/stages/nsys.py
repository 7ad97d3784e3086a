"""Nsight Systems around the workload: capture, export to SQLite, and a verdict from what the reports hold."""

from __future__ import annotations

import os
from pathlib import Path

from llm_perf_opt.analysis.launched import busy_of, timeline
from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.config.pipeline import Nsys
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import StageError
from llm_perf_opt.plan.model import PlannedStage
from llm_perf_opt.plan.paths import stage_dir
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.records.tools import KernelTime, NsysCapture, NsysReport
from llm_perf_opt.stages.base import Stage, StageContext
from llm_perf_opt.stages.wrapped import Launch, changed_environment, launched_command, planned_tool
from llm_perf_opt.tools import nsys
from llm_perf_opt.tools.command import profiled_environment
from llm_perf_opt.tools.discovery import require_tool
from llm_perf_opt.tools.failures import judge_nsys, workload_remark
from llm_perf_opt.tools.nsys_export import drop_environments, kernel_summary, open_export, read_facts, summary_csv
from llm_perf_opt.tools.nsys_timeline import copy_ns, device_intervals, device_numbers, device_work, range_spans
from llm_perf_opt.tools.options import parse_version
from llm_perf_opt.workload.order import Capture

COMMAND, FACTS, SUMMARY = "cmd.txt", "facts.json", "summary_cuda_gpu_kern_sum.csv"
MOST_KERNELS = 50
"""Kernels in the record; the summary has all."""


def plan(name: str, config: Config, run_path: Path) -> PlannedStage:
    settings = config.pipeline.nsys
    program, tool, version = planned_tool("nsys", os.environ)
    directory = stage_dir(run_path, name)
    capture = nsys.profile_argv(program, settings, directory, launched_command(name, config, run_path), version)
    export = nsys.export_argv(program, directory / f"{nsys.OUTPUT}.nsys-rep")
    return PlannedStage(
        name,
        directory,
        (tuple(capture), tuple(export)),
        notes=tuple(nsys.notes(settings, version)),
        tool=tool,
        environment=changed_environment(config),
        left_out=profiled_environment(os.environ)[1],
        files=(*nsys.expected_files(settings), SUMMARY, "kernels.md", FACTS, COMMAND),
    )


def execute(context: StageContext) -> Outcome:
    settings = context.config.pipeline.nsys
    tool = require_tool("nsys")
    waits_for_range = settings.capture_range == "nvtx" and settings.gating_nvtx
    bracketed = settings.capture_range == "cudaProfilerApi"
    capture = Capture(profiler_api="measured" if bracketed else None, needs_ranges=waits_for_range)
    launch = Launch(context, context.config, context.inputs, capture)
    directory = context.output_dir
    _remove_old(directory)
    argv = nsys.profile_argv(tool.path, settings, directory, launch.command, parse_version(tool.version) or None)
    write_text(directory / COMMAND, launch.command_text(argv))
    finished = launch.run(argv, settings.timeout_s)
    exports = _Exports(launch, tool.path, settings)
    if not finished.timed_out:
        exports.make(directory)

    ending = launch.ending(finished, exports.output)
    failure = judge_nsys(
        ending,
        trigger=nsys.trigger_words(settings),
        reports=[report.name for report in nsys.reports(directory)],
        streams=[stream.name for stream in nsys.raw_streams(directory)],
        facts=[report.facts for report in exports.reports],
        expects_kernels=_traces_cuda(settings) and launch.on_gpu,
    )
    kernels = kernel_summary(*exports.files)
    record = NsysCapture(
        tool=tool,
        trigger=nsys.trigger_words(settings),
        device=launch.device,
        reports=tuple(exports.reports),
        kernels=tuple(kernels[:MOST_KERNELS]),
        kernels_left_out=max(0, len(kernels) - MOST_KERNELS),
        failure=failure,
    )
    write_capture(directory, record, kernels if exports.files else None)
    remark = workload_remark("nsys", ending, ended_by_tool=nsys.ends_workload(settings))
    return launch.outcome(failure, [remark] if remark is not None else [])


def read_report(name: str, export: Path) -> NsysReport:
    """What one report holds, from its export.

    Raises:
        StageError: the export cannot be read.
    """
    with open_export(export) as connection:
        devices = [
            busy_of(device, device_intervals(connection, device), copy_ns(connection, device))
            for device in device_numbers(connection)
        ]
        found = timeline(device_work(connection), range_spans(connection), devices) if devices else None
    return NsysReport(name=name, facts=read_facts(export), timeline=found)


def write_capture(directory: Path, record: NsysCapture, kernels: list[KernelTime] | None) -> None:
    """Write what a capture left: the record, and with `kernels` the table of all of them."""
    write_text(directory / FACTS, record.model_dump_json(indent=2) + "\n")
    if kernels is not None:
        write_text(directory / SUMMARY, summary_csv(kernels))


def _traces_cuda(settings: Nsys) -> bool:
    return any(api.strip().split("-")[0] == "cuda" for api in settings.trace.split(","))


def _remove_old(directory: Path) -> None:
    """A report of an earlier attempt must not pass for this one's."""
    for pattern in ("*.nsys-rep", "*.sqlite", "*.qdstrm"):
        for file in directory.glob(f"{nsys.OUTPUT}{pattern}"):
            file.unlink()


class _Exports:
    """The reports of a capture as SQLite, and what they hold."""

    def __init__(self, launch: Launch, program: str, settings: Nsys) -> None:
        self.files: list[Path] = []
        self.reports: list[NsysReport] = []
        self.output = ""
        """What was printed while exporting."""
        self._launch = launch
        self._program = program
        self._settings = settings

    def make(self, directory: Path) -> None:
        """Export every report in `directory`; one that cannot be exported or read is passed over."""
        for number, report in enumerate(nsys.reports(directory), 1):
            argv = nsys.export_argv(self._program, report)
            commands = (directory / COMMAND).read_text(encoding="utf-8")
            write_text(directory / COMMAND, commands + self._launch.command_text(argv))
            finished, log = self._launch.run_helper(argv, f"export.{number}.log", self._settings.timeout_s)
            self.output += "\n" + log.read_text(errors="replace")
            if finished.ok:
                self._read(report)

    def _read(self, report: Path) -> None:
        file = report.with_suffix(".sqlite")
        try:
            drop_environments(file)
            self.reports.append(read_report(report.name, file))
            self.files.append(file)
        except StageError as error:
            self.output += f"\n{error.message}"


STAGE = Stage(name="nsys", runs_model=True, planner=plan, execute=execute, wraps_workload=True)
