"""What the stages share that make the timed repeats in a child of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.artifacts.layout import ELSEWHERE, ORDER, PRED_DIR, VIZ_DIR, WORKLOAD, save_dir
from llm_perf_opt.config.base import Output, StageSettings, TimedSettings
from llm_perf_opt.config.schema import Config
from llm_perf_opt.plan.model import PlannedStage
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.records.workload import Workload
from llm_perf_opt.registry import reference_to
from llm_perf_opt.stages.base import PlanContext, StageContext
from llm_perf_opt.stages.child import run_child
from llm_perf_opt.stages.enabled import enabled_observers
from llm_perf_opt.stages.save_dirs import elsewhere
from llm_perf_opt.workload.order import WorkOrder, child_argv


def plan_timed(context: PlanContext[StageSettings]) -> PlannedStage:
    """One child."""
    notes = [f"watched by {name}" for name, _, _ in enabled_observers(context.config)]
    command = tuple(child_argv(context.scratch_dir / ORDER))
    return PlannedStage(context.name, context.output_dir, (command,), notes=tuple(notes))


def run_timed(context: StageContext[TimedSettings], part: str | None = None) -> Outcome:
    """Time every sample and write what the settings ask for.

    Args:
        part: `module:function` of what the child does for this stage after the timed repeats
            (`workload.part.PartContext` → None); its records go into the stage's directory.
    """
    order = timed_order(context, context.settings.output, part)
    run_child(order, context.progress)
    outside = elsewhere(context.run_path, order.prediction_dir, order.visualization_dir)
    if outside.files:
        write_text(context.output_dir / ELSEWHERE, outside.model_dump_json(indent=2) + "\n")
    return outcome_of(Workload.read(context.output_dir / WORKLOAD))


def timed_order(context: StageContext[Any], output: Output, part: str | None) -> WorkOrder:
    """The order to make the timed repeats, watched by every observer that is on."""
    directory = context.output_dir
    return WorkOrder(
        stage=context.name,
        config=context.config,
        inputs=context.inputs,
        scratch_dir=context.scratch_dir,
        output_dir=directory,
        output=output,
        prediction_dir=prediction_dir(directory, output),
        visualization_dir=visualization_dir(directory, output),
        part=part,
        observers=observer_references(context.config),
    )


def prediction_dir(directory: Path, output: Output) -> Path | None:
    """Where predictions go; None where none are written."""
    return save_dir(directory, output.prediction.save_dir, PRED_DIR) if output.prediction.enable else None


def visualization_dir(directory: Path, output: Output) -> Path | None:
    """Where the gallery goes; None where none is written."""
    return save_dir(directory, output.visualization.save_dir, VIZ_DIR) if output.visualization.enable else None


def observer_references(config: Config) -> dict[str, str]:
    """Name of each observer that is on → `module:function` of its watch, for the child."""
    return {name: _reference(observer.watch) for name, observer, _ in enabled_observers(config)}


def _reference(function: str | Callable[..., Any]) -> str:
    return function if isinstance(function, str) else reference_to(function)


def outcome_of(record: Workload) -> Outcome:
    """Completed, or failed where a sample failed."""
    if not record.errors:
        return Outcome.completed(record.work_fingerprint)
    first = record.errors[0]
    total = len(record.errors) + sum(len(batch.samples) for batch in record.batches)
    return Outcome.failed(
        f"{len(record.errors)} of {total} samples failed; the first: {first.error}",
        "repair or remove them; the other samples are measured",
        work_fingerprint=record.work_fingerprint,
    )
