"""What the stages that time the model in a child of their own share."""

from __future__ import annotations

from pathlib import Path

from llm_perf_opt.artifacts.layout import ORDER, PRED_DIR, VIZ_DIR, save_dir, scratch_dir, stage_dir
from llm_perf_opt.config.pipeline import Output
from llm_perf_opt.config.schema import Config
from llm_perf_opt.plan.model import PlannedStage
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.records.workload import Workload
from llm_perf_opt.stages.base import StageContext
from llm_perf_opt.stages.child import run_child
from llm_perf_opt.workload.order import WorkOrder, child_argv


def plan_measured(name: str, _config: Config, run_path: Path) -> PlannedStage:
    """One child."""
    return PlannedStage(name, stage_dir(run_path, name), (tuple(child_argv(scratch_dir(run_path, name) / ORDER)),))


def run_measured(context: StageContext, output: Output, *, profile: bool) -> Outcome:
    """Time every sample, write what `output` asks for, and profile one sample where asked."""
    directory = context.output_dir
    prediction, visualization = output.prediction, output.visualization
    order = WorkOrder(
        stage=context.name,
        config=context.config,
        inputs=context.inputs,
        scratch_dir=context.scratch_dir,
        output_dir=directory,
        prediction_dir=save_dir(directory, prediction.save_dir, PRED_DIR) if prediction.enable else None,
        visualization_dir=save_dir(directory, visualization.save_dir, VIZ_DIR) if visualization.enable else None,
        profile=profile,
    )
    return outcome_of(run_child(order, context.progress))


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
