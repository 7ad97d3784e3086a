"""What the stages share that make the timed repeats in children of their own."""

from __future__ import annotations

from dataclasses import dataclass

from llm_perf_opt.artifacts.layout import ORDER, launch_dir
from llm_perf_opt.config.base import StageSettings, TimedSettings
from llm_perf_opt.plan.model import PlannedStage
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.stages.base import PlanContext, Progress, StageContext
from llm_perf_opt.stages.enabled import enabled_observers
from llm_perf_opt.stages.launches import LaunchSeries, new_block
from llm_perf_opt.workload.order import child_argv


def plan_timed(context: PlanContext[StageSettings]) -> PlannedStage:
    """One child a launch."""
    launches = context.config.measure.launches
    notes = [f"watched by {name}" for name, _, _ in enabled_observers(context.config)]
    if launches > 1:
        notes.append(f"{launches} launches; what is made beside the timed repeats is made in the first")
    scratch = (launch_dir(context.scratch_dir, launch, launches) for launch in range(launches))
    commands = tuple(tuple(child_argv(folder / ORDER, context.config.parallel)) for folder in scratch)
    return PlannedStage(context.name, context.output_dir, commands, notes=tuple(notes))


def run_timed(context: StageContext[TimedSettings], part: str | None = None) -> Outcome:
    """Time every sample in each launch and write what the settings ask for; a launch that fails costs itself alone.

    Args:
        part: `module:function` of what the child does for this stage after the timed repeats
            (`workload.part.PartContext` → None); its records go into the launch's directory.
    """
    launches, block = context.config.measure.launches, new_block()
    series = LaunchSeries.taken_up(context, part)
    if launches == 1:
        series.launch(block, 0, 0, context.progress)
        (entry,) = series.entries
        if entry.status == "completed":
            return Outcome.completed(entry.work_fingerprint)
        return Outcome.failed(entry.reason or "", entry.remedy, entry.exit_code, entry.work_fingerprint)
    for launch in range(launches):
        if not series.has(launch) and not series.hopeless:
            series.launch(block, launch, launch, NumberedLaunch(context.progress, f"launch {launch + 1} of {launches}"))
    return series.outcome()


@dataclass(frozen=True)
class NumberedLaunch:
    """Says of which launch a phase is."""

    progress: Progress
    label: str

    def update(self, phase: str, done: int, total: int, steps: int) -> None:
        self.progress.update(f"{self.label}: {phase}", done, total, steps)
