"""What is asked of ncu: its options, and what the child runs so that the answer means something."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from llm_perf_opt.artifacts.layout import COMMAND, FACTS, NCU_REPORT, RAW, REGION, REGIONS, REPORT, SECTIONS
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.plan.model import PassEstimate, PlannedStage
from llm_perf_opt.records.inputs import Inputs
from llm_perf_opt.stages.base import PlanContext
from llm_perf_opt.stages.known_ranges import check_filters
from llm_perf_opt.stages.ncu import argv
from llm_perf_opt.stages.ncu.settings import Ncu
from llm_perf_opt.stages.wrapped import (
    changed_environment,
    foreign_command,
    launched_command,
    planned_tool,
    ranks_under_tool,
)
from llm_perf_opt.tools import ncu
from llm_perf_opt.tools.command import profiled_environment
from llm_perf_opt.tools.ncu_lists import (
    PASSES_OF_FULL,
    estimated_passes,
    known_metrics,
    known_sections,
    known_sets,
    split_metrics,
    split_sections,
)
from llm_perf_opt.tools.nvtx import TranslatedFilter, folder_names
from llm_perf_opt.workload.order import STEADY_STEP, Capture, captured_argv


@dataclass(frozen=True)
class NcuRequest:
    """One run of ncu."""

    settings: Ncu
    """With the replay mode that is sent."""
    replay_reason: str | None
    """Why `auto` became that mode; None where the configuration names one."""
    own: bool
    """The workload is llmperf's own."""
    steady_step: bool
    """Nothing bounds the launches, so one decode step is profiled."""
    filters: tuple[TranslatedFilter, ...]
    metrics: tuple[str, ...] = ()
    sections: tuple[str, ...] = ()
    dropped_metrics: tuple[str, ...] = ()
    dropped_sections: tuple[str, ...] = ()
    on_all_ranks: bool = False
    rank_note: str | None = None
    """Which ranks of a sharded model are profiled, and how; None of one process."""
    regions: dict[str, TranslatedFilter] = field(default_factory=dict)
    """Folder → filter, where several were asked for."""

    @property
    def options(self) -> list[str]:
        return argv.profile_options(
            self.settings,
            metrics=self.metrics,
            sections=self.sections,
            include=self.filters,
            from_start=not self._bracketed,
        )

    @property
    def capture(self) -> Capture:
        bracket: Literal["steady_step"] | None = "steady_step" if self._bracketed else None
        return Capture(steady_step=self.steady_step, profiler_api=bracket, needs_ranges=bool(self.filters))

    @property
    def runs_again(self) -> bool:
        """Whether the whole workload is run once a pass, or a range of it is: every run must be the same."""
        return self.settings.ncu_cli.replay_mode != "kernel"

    @property
    def _bracketed(self) -> bool:
        # Without gating no NVTX option may be sent, so the profiler API marks the step.
        return self.steady_step and not self.settings.gating_nvtx


def make_request(asked_settings: Ncu, config: Config, program: str | None) -> NcuRequest:
    """The request of a configuration.

    Args:
        asked_settings: of the stage, as configured.
        program: the installed ncu, which is asked for the names it knows; None checks no names.

    Raises:
        ConfigError: one decode step is to be profiled, and there is none.
    """
    own = foreign_command(config) is None
    on_all, rank_note = False, None
    if ranks_under_tool(config) > 1:
        asked_settings, on_all, rank_note = argv.of_ranks(asked_settings)
    settings, replay_reason = argv.choose_replay(asked_settings, own=own)
    cli = settings.ncu_cli
    steady = own and not argv.bounds_launches_of_ranks(settings)
    if steady and config.infer.max_new_tokens == 1:
        raise ConfigError(
            "ncu profiles one decode step unless told otherwise, and infer.max_new_tokens: 1 makes none",
            "set infer.max_new_tokens to 2 or more, or bound the launches: pipeline.ncu.ncu_cli.launch_count",
        )
    asked = {item.written: item for item in argv.filters(settings)}
    filters = tuple(asked.values())
    if steady and settings.gating_nvtx:
        filters = (TranslatedFilter(STEADY_STEP, f"{STEADY_STEP}/", "name"),)
    metrics, no_metrics = split_metrics(cli.metrics or (), known_metrics(program) if program and cli.metrics else _NONE)
    sections, no_sections = split_sections(
        cli.sections or (), known_sections(program) if program and cli.sections else _NONE
    )
    folders = folder_names(list(asked)) if len(asked) > 1 else {}
    return NcuRequest(
        settings=settings,
        replay_reason=replay_reason,
        own=own,
        steady_step=steady,
        filters=filters,
        metrics=tuple(metrics),
        sections=tuple(sections),
        dropped_metrics=tuple(no_metrics),
        dropped_sections=tuple(no_sections),
        on_all_ranks=on_all,
        rank_note=rank_note,
        regions={folder: asked[written] for written, folder in folders.items()},
    )


_NONE: frozenset[str] = frozenset()


def child_work(request: NcuRequest, config: Config, inputs: Inputs) -> tuple[Config, Inputs]:
    """What the child runs: one repeat, since its times mean nothing; and what must repeat itself exactly is one batch,
    decoded greedily to its full length."""
    changes: dict[str, object] = {"measure": config.measure.model_copy(update={"repeats": 1})}
    if request.steady_step or request.runs_again:
        greedy = {"do_sample": False, "temperature": 0.0, "top_p": None, "stop_on_eos": False}
        changes["infer"] = config.infer.model_copy(update=greedy)
        first = inputs.epochs[0][: config.infer.batch_size] if inputs.epochs else ()
        inputs = inputs.model_copy(update={"epochs": (first,)})
    return config.model_copy(update=changes), inputs


def plan(context: PlanContext[Ncu]) -> PlannedStage:
    program, tool, version = planned_tool("ncu", os.environ)
    installed = program if version is not None else None
    request = make_request(context.settings, context.config, installed)
    settings, directory = request.settings, context.output_dir
    if request.own:
        check_filters(context.config, argv.filters(settings))
    report = directory / NCU_REPORT
    commands = [capture_argv(program, request, context, launched_command(context))]
    for include in (None, *(item.sent for item in request.regions.values())):
        commands += [ncu.raw_csv_argv(program, report, include), ncu.details_argv(program, report, include)]
    files = [report.name, *([RAW] if settings.ncu_cli.export.csv else []), SECTIONS]
    files += [f"{REGIONS}/{folder}/ ({REGION}, {REPORT}, {SECTIONS})" for folder in request.regions]
    return PlannedStage(
        context.name,
        directory,
        tuple(tuple(words) for words in commands),
        notes=(*argv.notes(settings, version), *_notes(request)),
        tool=tool,
        environment=changed_environment(context.config),
        left_out=profiled_environment(os.environ)[1],
        files=(*files, FACTS, COMMAND),
        passes=_estimate(request, installed),
    )


def capture_argv(program: str, request: NcuRequest, context: PlanContext[Ncu], child: Sequence[str]) -> list[str]:
    """The command of the capture."""
    world, directory = ranks_under_tool(context.config), context.output_dir
    of_rank = request.on_all_ranks
    tool = argv.profile_argv(program, request.settings, request.options, directory, child, of_rank=of_rank)
    ranks = range(world) if of_rank else (0,)
    return captured_argv(tool, child, context.config.parallel, ranks) if world > 1 else tool


def _notes(request: NcuRequest) -> list[str]:
    found = [] if request.rank_note is None else [request.rank_note]
    mode = request.settings.ncu_cli.replay_mode
    by_range = mode in ("range", "app-range")
    if request.replay_reason is not None:
        found.append(f"replay_mode: auto is {mode}: {request.replay_reason}")
    if by_range and len(request.filters) > 1:
        found.append(
            "ranges of nvtx.include that overlap, such as a module's and its phase's, make one result together"
        )
    if request.steady_step:
        marked = f"the range {STEADY_STEP}" if request.settings.gating_nvtx else "cudaProfilerStart and -Stop"
        found.append(f"nothing bounds the launches: the middle decode step is profiled, marked by {marked}")
    elif not request.own and not argv.bounds_launches(request.settings):
        found.append(
            "nothing bounds the launches: every kernel of the command is replayed; set launch_count, kernel_name or "
            "nvtx.include"
            if not by_range
            else f"replay_mode: {mode} profiles ranges, and nvtx.include names none: only cudaProfilerStart and -Stop "
            "can delimit them"
        )
    if request.own:
        once = "times under ncu mean nothing, so measure.repeats is not used"
        if request.steady_step or request.runs_again:
            found.append(
                "one batch is run, decoded greedily to infer.max_new_tokens, so every pass does the same; " + once
            )
        else:
            found.append(f"every sample is run once: {once}")
        if request.filters and not request.steady_step and mode == "kernel":
            found.append("each kernel in the ranges is profiled; replay_mode: app-range profiles each range as a whole")
    return found + dropped_words(request)


def dropped_words(request: NcuRequest) -> list[str]:
    """What was asked for and is not sent."""
    kinds = {"metrics": request.dropped_metrics, "sections": request.dropped_sections}
    return [
        f"{kind} that ncu does not know here, dropped: {', '.join(names)}" for kind, names in kinds.items() if names
    ]


def _estimate(request: NcuRequest, program: str | None) -> PassEstimate:
    cli = request.settings.ncu_cli
    formula = f"{PASSES_OF_FULL} for the set full, fewer by its share of the metrics; a rule of thumb, the GPU decides"
    what = "profiled range" if cli.replay_mode in ("range", "app-range") else "profiled launch"
    if program is None:
        return PassEstimate(None, f"per {what}: {formula}; ncu, which lists how many metrics a set has, was not found")
    sets = known_sets(program)
    full = sets.get("full")
    metrics = sets.get(cli.set) if cli.set is not None else 0
    if not full or metrics is None:
        name = "full" if not full else cli.set
        return PassEstimate(None, f"per {what}: {formula}; ncu does not list how many metrics the set {name} has")
    if not metrics and not request.metrics:
        return PassEstimate(None, f"per {what}: {formula}; how many metrics sections have is not listed")
    least = "; sections outside the set come on top" if request.sections else ""
    if cli.replay_mode in ("application", "app-range"):
        least += "; each pass is a run of the whole workload"
    elif cli.launch_count is not None:
        least += f"; at most {cli.launch_count:,} launches"
    return PassEstimate(estimated_passes(metrics + len(request.metrics), full), f"per {what}: {formula}{least}")
