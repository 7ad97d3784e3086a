"""Timed repeats, then in the same child the instrumented run and the profiled sample."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from llm_perf_opt.artifacts.layout import COLLECTIVES, PROFILE, TABLES, WORKLOAD, rank_dir, record_dirs, timeline_file
from llm_perf_opt.plan.model import PlannedStage
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.records.workload import Workload
from llm_perf_opt.stages.base import PlanContext, Progress, StageContext
from llm_perf_opt.stages.timed import plan_timed, run_timed
from llm_perf_opt.stages.torch_profiler.settings import TorchProfiler

PART = "llm_perf_opt.stages.torch_profiler.child:profile"
LEFT = (WORKLOAD, PROFILE, TABLES, timeline_file(), COLLECTIVES)
"""By a rank, for the comparison with the others."""
JOINED = (PROFILE, TABLES, timeline_file())
"""Of all ranks."""


def plan(context: PlanContext[TorchProfiler]) -> PlannedStage:
    planned = plan_timed(context)
    steps, limit = context.settings.steps, context.config.artifacts.max_bytes
    what = "all decode steps" if steps is None else f"the first {steps:,} decode steps"
    note = (
        f"the profile covers prefill and {what}; where they are many, short ones before it tell what it will take, and "
        f"it is shortened to leave at most {limit:,} bytes"
    )
    return replace(planned, notes=(*planned.notes, note))


def execute(context: StageContext[TorchProfiler]) -> Outcome:
    outcome = run_timed(context, PART)
    if (world := context.config.parallel.tensor) > 1:
        compare_ranks(context.output_dir, world, context.progress)
    return outcome


def compare_ranks(output_dir: Path, world: int, progress: Progress) -> None:
    """Write the record of all ranks of a sharded model, where they left their profile.

    Raises:
        StageError: what one left cannot be read back, or there is no room.
    """
    from llm_perf_opt.captures.ranks import RankFolder, write_ranks

    for folder in record_dirs(output_dir):
        own = {rank: found for rank in range(world) if (found := rank_dir(folder, rank)).is_dir()}
        left = {rank: one for rank, one in own.items() if all((one / name).exists() for name in LEFT)}
        if own and not left:  # an earlier attempt's must not pass for this one's
            for name in JOINED:
                (folder / name).unlink(missing_ok=True)
        if left:
            progress.update("comparing the ranks", 0, 1, 0)
            clocks: dict[str, int] = {}
            # Ranks of one machine share its clock.
            on = {rank: clocks.setdefault(_host(one), len(clocks)) for rank, one in left.items()}
            write_ranks(folder, [RankFolder(rank, one, on[rank]) for rank, one in left.items()], world)


def _host(folder: Path) -> str:
    """The machine of a rank."""
    found = Workload.read(folder / WORKLOAD).rank
    return "" if found is None else found.host
