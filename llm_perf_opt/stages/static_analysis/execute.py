"""FLOPs, parameters and bytes of the model: in closed form here, traced in a child where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llm_perf_opt.analysis.static.methods import static_record
from llm_perf_opt.analysis.static.pages import together
from llm_perf_opt.analysis.static.reader import NotCovered
from llm_perf_opt.analysis.static.stored import StoredWeights, stored_weights
from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.artifacts.layout import STATIC
from llm_perf_opt.config.schema import Config
from llm_perf_opt.hardware.catalogue import find_gpu, gpu_named
from llm_perf_opt.hardware.detect import detect_gpus
from llm_perf_opt.hardware.gpu import Gpu
from llm_perf_opt.plan.model import PlannedStage
from llm_perf_opt.records.inputs import MadeUp
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.records.static import StaticRequest
from llm_perf_opt.stages.base import PlanContext, StageContext
from llm_perf_opt.stages.static_analysis import StaticAnalysis
from llm_perf_opt.stages.static_analysis.sizes import (
    TEXT_PROMPT_TOKENS,
    sizes_of,
    synthetic_image,
)
from llm_perf_opt.workload.adapter import Adapter, find_adapter
from llm_perf_opt.workload.inputs import INSTRUCTION_TOKENS
from llm_perf_opt.workload.preprocess import pixel_limits


def plan(context: PlanContext[StaticAnalysis]) -> PlannedStage:
    note = "closed form in this process, without torch; a model type that has none is traced in a child"
    return PlannedStage(context.name, context.output_dir, notes=(note,))


def execute(context: StageContext[StaticAnalysis]) -> Outcome:
    config, settings = context.config, context.settings
    adapter = find_adapter(config.model.name)
    try:
        record = static_record(
            adapter.model_config(config),
            request_of(context, adapter),
            _gpus(config.hardware.gpu),
            fallback=settings.use_analytic_fallback,
            where=config.model.path or f"model {config.model.name}",
            stored=_stored(config),
        )
    except NotCovered as error:
        return Outcome.skipped(error.message)
    if settings.write_reports:
        write_text(context.output_dir / STATIC, record.to_json() + "\n")
    return Outcome.completed()


def _stored(config: Config) -> StoredWeights | None:
    """The weights as the model's files hold them, where it has files."""
    path = Path(config.model.path) if config.model.path else None
    if path is None or config.model.dtype != "auto":
        return None
    if path.suffix == ".gguf":
        from llm_perf_opt.workload.gguf_config import stored_in_gguf

        return stored_in_gguf(path)
    return stored_weights(path) if path.is_dir() else None


def _gpus(name: str) -> list[Gpu]:
    """The GPUs to give bounds for: the one that is named, or with `auto` those of the catalogue that are here."""
    if name != "auto":
        return [gpu_named(name)]
    found = (find_gpu(gpu.name) for gpu in detect_gpus().gpus)
    return list({gpu.id: gpu for gpu in found if gpu is not None}.values())


def request_of(context: StageContext[StaticAnalysis], adapter: Adapter) -> StaticRequest:
    """Sizes from the configuration, or those of the first sample with `use_synthetic_inputs: false`.

    Of samples that are made up in given sizes, it is those.

    Raises:
        StageError, ConfigError: the first sample cannot be prepared.
    """
    config, settings = context.config, context.settings
    made = context.inputs.samples[0].made_up if context.inputs.samples else None
    if made is not None:
        sizes: dict[str, Any] = _made_up(made, config, adapter)
    elif settings.use_synthetic_inputs:
        sizes = _synthetic(config, adapter)
    else:
        sizes = _first(context, adapter)
    common = StaticRequest(
        batch=config.infer.batch_size,
        new_tokens=config.infer.max_new_tokens,
        context=config.infer.context_len_fixed,
        dtype=None if config.model.dtype == "auto" else config.model.dtype,
        attention_flops=settings.attention_flops,
        logits=settings.logits,
    )
    if sizes.get("images") and not sizes.get("views") and config.model.path:
        sizes["pixel_limits"] = pixel_limits(Path(config.model.path))
    return common.model_copy(update=sizes)


def _first(context: StageContext[StaticAnalysis], adapter: Adapter) -> dict[str, Any]:
    """Of the sample that runs first."""
    inputs = context.inputs
    sizes = sizes_of(inputs.samples[inputs.epochs[0][0]], context.config, adapter)
    seen = {"views": sizes.views, "image_tokens": sizes.image_tokens} if sizes.views else {}
    return {"prompt_tokens": sizes.prompt_tokens - (sizes.image_tokens if seen else 0), **seen}


def _made_up(made: MadeUp, config: Config, adapter: Adapter) -> dict[str, Any]:
    """Of samples that are made up in given sizes."""
    sizes: dict[str, Any] = {"prompt_tokens": made.prompt_tokens or INSTRUCTION_TOKENS, "images": made.images}
    if adapter.pages is not None and made.images:
        pages = together([adapter.pages(config).of(image) for image in made.images])
        sizes |= {"views": pages.views, "image_tokens": pages.tokens}
    return sizes


def _synthetic(config: Config, adapter: Adapter) -> dict[str, Any]:
    """Prompt tokens beside the image tokens, and for models that read images one of the global view's size."""
    if adapter.modality == "text":
        return {"prompt_tokens": TEXT_PROMPT_TOKENS}
    image = synthetic_image(config)
    if adapter.pages is None:
        return {"prompt_tokens": INSTRUCTION_TOKENS, "images": (image,)}
    page = adapter.pages(config).of(image)
    return {
        "prompt_tokens": INSTRUCTION_TOKENS,
        "images": (image,),
        "views": page.views,
        "image_tokens": page.tokens,
    }
