"""FLOPs, parameters and bytes from the model's configuration, in this process and without torch."""

from __future__ import annotations

from pathlib import Path

from llm_perf_opt.analysis.static import NotCovered, analyze
from llm_perf_opt.analysis.static.report import markdown
from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.config.schema import Config
from llm_perf_opt.plan.model import PlannedStage
from llm_perf_opt.plan.paths import stage_dir
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.records.static import StaticRequest
from llm_perf_opt.stages.base import Stage, StageContext
from llm_perf_opt.workload.adapter import find_adapter

JSON_FILE, MARKDOWN_FILE = "static_compute.json", "static_compute.md"


def plan(name: str, _config: Config, run_path: Path) -> PlannedStage:
    return PlannedStage(name, stage_dir(run_path, name), notes=("runs in this process, without torch",))


def execute(context: StageContext) -> Outcome:
    config = context.config
    settings = config.pipeline.static_analysis
    adapter = find_adapter(config.model.name)
    try:
        record = analyze(
            adapter.model_config(config), request_of(config), where=config.model.path or f"model {config.model.name}"
        )
    except NotCovered as error:
        return Outcome.skipped(error.message)
    if settings.write_reports:
        write_text(context.output_dir / JSON_FILE, record.to_json() + "\n")
        write_text(context.output_dir / MARKDOWN_FILE, markdown(record))
    return Outcome.completed()


def request_of(config: Config) -> StaticRequest:
    """Sizes from the configuration: one view of `preprocess.base_size` for models that read images, the request's own
    default prompt otherwise."""
    settings = config.pipeline.static_analysis
    side = config.model.preprocess.base_size if config.model.preprocess.enable else None
    return StaticRequest(
        batch=config.infer.batch_size,
        new_tokens=config.infer.max_new_tokens,
        context=config.infer.context_len_fixed,
        images=((side, side),) if side is not None else (),
        dtype=None if config.model.dtype == "auto" else config.model.dtype,
        attention_flops=settings.attention_flops,
        logits=settings.logits,
    )


STAGE = Stage(name="static_analysis", runs_model=False, planner=plan, execute=execute)
