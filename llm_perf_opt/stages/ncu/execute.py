"""Running ncu, exporting what it left, and judging that."""

from __future__ import annotations

from pathlib import Path

from llm_perf_opt.artifacts.files import write_text, writing
from llm_perf_opt.artifacts.layout import COMMAND, IMPORT_LOG, RAW, REGION, REGIONS, SECTIONS
from llm_perf_opt.captures.kernel_files import arithmetic_of
from llm_perf_opt.captures.ncu import read_raw_csv, write_capture
from llm_perf_opt.errors import StageError
from llm_perf_opt.formats.ncu_csv import table_lines
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.records.tools import Failure, NcuCapture, NcuFacts, NcuRegion, NcuResult
from llm_perf_opt.stages.base import StageContext
from llm_perf_opt.stages.ncu.request import NcuRequest, capture_argv, child_work, dropped_words, make_request
from llm_perf_opt.stages.ncu.settings import Ncu
from llm_perf_opt.stages.range_check import explained
from llm_perf_opt.stages.wrapped import ToolRun
from llm_perf_opt.tools import ncu
from llm_perf_opt.tools.discovery import require_tool
from llm_perf_opt.tools.failures import judge_ncu, workload_remark
from llm_perf_opt.tools.nvtx import TranslatedFilter


def execute(context: StageContext[Ncu]) -> Outcome:
    tool = require_tool("ncu")
    request = make_request(context.settings, context.config, tool.path)
    settings = request.settings
    launch = ToolRun(context, *child_work(request, context.config, context.inputs), request.capture)
    directory = context.output_dir
    _make_room(directory, settings.ncu_cli.force_overwrite)
    command = capture_argv(tool.path, request, context, launch.command)
    write_text(directory / COMMAND, launch.command_text(command))
    finished = launch.run(command, settings.timeout_s)
    ending = launch.ending(finished)
    reports = ncu.reports(directory)
    export = Export(launch, tool.path, reports[0], request) if reports and not finished.timed_out else None
    facts = export.whole(directory) if export is not None else None
    failure = judge_ncu(
        ending,
        filters=[item.sent for item in request.filters],
        reports=[report.name for report in reports],
        facts=facts,
        kernel_name=settings.ncu_cli.kernel_name,
    )
    sent = launch.ranges
    waited_for = request.filters[0].written if request.filters else None
    failure = _without_gpu(explained(failure, sent, tool="ncu", waited_for=waited_for), launch)
    regions = export.regions(directory) if export is not None and failure is None else []
    results = export.results if export is not None else ()
    arithmetic = arithmetic_of(reports[0]) if facts is not None else ()
    record = NcuCapture(
        tool=tool,
        replay_mode=settings.ncu_cli.replay_mode,
        replay_reason=request.replay_reason,
        filters=tuple(item.sent for item in request.filters),
        steady_step=request.steady_step,
        device=launch.device,
        range_sender=sent.sender if sent is not None else None,
        range_sender_reason=sent.reason if sent is not None else None,
        passes=ncu.passes(ending.output),
        facts=facts,
        results=results,
        results_left_out=max(0, (facts.results if facts is not None else 0) - len(results)),
        arithmetic=arithmetic,
        regions=tuple(region.folder for region in regions),
        dropped_metrics=request.dropped_metrics,
        dropped_sections=request.dropped_sections,
        failure=failure,
    )
    write_capture(directory, record)
    remarks = [*dropped_words(request), *(f"{region.written}: {region.reason}" for region in regions if region.reason)]
    if (remark := workload_remark("ncu", ending)) is not None:
        remarks.append(remark)
    return launch.outcome(failure, remarks)


def _make_room(directory: Path, force_overwrite: bool) -> None:
    """A report of an earlier attempt must not pass for this one's.

    Raises:
        StageError: there is one, and it must not be replaced.
    """
    old = ncu.reports(directory)
    if old and not force_overwrite:
        raise StageError(
            f"{old[0]} is there from an earlier attempt, and force_overwrite is false",
            "move it away, or set pipeline.ncu.ncu_cli.force_overwrite: true",
        )
    for report in old:
        report.unlink()


def _without_gpu(failure: Failure | None, launch: ToolRun) -> Failure | None:
    """Where the workload ran on a CPU, no filter is to blame for there being no kernels."""
    if failure is None or failure.code not in ("no-kernels", "filter-never-matched") or launch.on_gpu:
        return failure
    return Failure(
        code="no-kernels",
        message=f"the workload ran on {launch.device}, so there were no kernels to profile",
        remedy="run on a machine with a CUDA GPU (device: cuda); llmperf doctor says what is missing",
    )


class Export:
    """What ncu prints of its report: whole, and region by region."""

    def __init__(self, launch: ToolRun, program: str, report: Path, request: NcuRequest) -> None:
        self.results: tuple[NcuResult, ...] = ()
        self._launch = launch
        self._program = program
        self._report = report
        self._request = request

    def whole(self, directory: Path) -> NcuFacts | None:
        """Write `raw.csv` and `sections_report.txt`; the facts, or None where the report cannot be read."""
        wanted = self._request.settings.ncu_cli.export.csv
        facts, self.results = self._raw(None, directory / RAW if wanted else None)
        if facts is not None:
            self._details(None, directory / SECTIONS)
        return facts

    def regions(self, directory: Path) -> list[NcuRegion]:
        """One folder a region; ncu itself decides what is in it."""
        return [
            self._region(directory / REGIONS / folder, folder, item) for folder, item in self._request.regions.items()
        ]

    def _region(self, directory: Path, folder: str, item: TranslatedFilter) -> NcuRegion:
        facts, results = self._raw(item.sent, None)
        if facts is not None:
            self._details(item.sent, directory / SECTIONS)
        region = NcuRegion(
            written=item.written,
            sent=item.sent,
            folder=folder,
            facts=facts,
            results=results,
            reason=None if facts is not None and facts.results else "nothing was profiled within it",
        )
        write_text(directory / REGION, region.model_dump_json(indent=2) + "\n")
        return region

    def _raw(self, include: str | None, target: Path | None) -> tuple[NcuFacts | None, tuple[NcuResult, ...]]:
        log = self._import(ncu.raw_csv_argv(self._program, self._report, include))
        try:
            facts, results = read_raw_csv(log, self._request.metrics)
            if target is not None:
                with log.open(errors="replace") as lines, writing(target), target.open("w") as file:
                    file.writelines(table_lines(lines))
        except StageError:
            return None, ()
        finally:
            log.unlink(missing_ok=True)
        return facts, results

    def _details(self, include: str | None, target: Path) -> None:
        log = self._import(ncu.details_argv(self._program, self._report, include))
        write_text(target, log.read_text(errors="replace"))
        log.unlink()

    def _import(self, command: list[str]) -> Path:
        commands = self._report.with_name(COMMAND)
        write_text(commands, commands.read_text(encoding="utf-8") + self._launch.command_text(command))
        return self._launch.run_helper(command, IMPORT_LOG, self._request.settings.timeout_s)[1]
