"""FLOPs, parameters and bytes of the model: in closed form here, traced in a child where there is none."""

from __future__ import annotations

from pathlib import Path

from llm_perf_opt.analysis.static import NotCovered
from llm_perf_opt.analysis.static.methods import static_record
from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.artifacts.layout import STATIC
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import StageError
from llm_perf_opt.hardware.catalogue import find_gpu, gpu_named
from llm_perf_opt.hardware.detect import detect_gpus
from llm_perf_opt.hardware.gpu import Gpu
from llm_perf_opt.opening import open_file, read_file
from llm_perf_opt.plan.model import PlannedStage
from llm_perf_opt.records.inputs import Sample
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.records.static import StaticRequest
from llm_perf_opt.stages.base import PlanContext, StageContext
from llm_perf_opt.stages.static_analysis import StaticAnalysis
from llm_perf_opt.workload.adapter import Adapter, find_adapter

# Sizes of a synthetic sample; the report repeats them beside the figures.
TEXT_PROMPT_TOKENS = 2048
INSTRUCTION_TOKENS = 32
"""The words that go with an image."""
IMAGE_SIDE = 1024
"""Pixels, where the configuration names no size."""


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
        )
    except NotCovered as error:
        return Outcome.skipped(error.message)
    if settings.write_reports:
        write_text(context.output_dir / STATIC, record.to_json() + "\n")
    return Outcome.completed()


def _gpus(name: str) -> list[Gpu]:
    """The GPUs to give bounds for: the one that is named, or with `auto` those of the catalogue that are here."""
    if name != "auto":
        return [gpu_named(name)]
    found = (find_gpu(gpu.name) for gpu in detect_gpus().gpus)
    return list({gpu.id: gpu for gpu in found if gpu is not None}.values())


def request_of(context: StageContext[StaticAnalysis], adapter: Adapter) -> StaticRequest:
    """Sizes from the configuration, or those of the first sample with `use_synthetic_inputs: false`.

    Raises:
        StageError: the sizes of the first sample cannot be found.
    """
    config, settings = context.config, context.settings
    if settings.use_synthetic_inputs:
        tokens, images = _synthetic_sizes(config, adapter)
    else:
        tokens, images = _sizes_of(context.inputs.samples[0], config)
    return StaticRequest(
        prompt_tokens=tokens,
        batch=config.infer.batch_size,
        new_tokens=config.infer.max_new_tokens,
        context=config.infer.context_len_fixed,
        images=images,
        dtype=None if config.model.dtype == "auto" else config.model.dtype,
        attention_flops=settings.attention_flops,
        logits=settings.logits,
    )


def _synthetic_sizes(config: Config, adapter: Adapter) -> tuple[int, tuple[tuple[int, int], ...]]:
    """Prompt tokens beside the image tokens, and images: one of the global view's size for models that read images."""
    if adapter.modality == "text":
        return TEXT_PROMPT_TOKENS, ()
    side = config.model.preprocess.base_size or IMAGE_SIDE
    return INSTRUCTION_TOKENS, ((side, side),)


def _sizes_of(sample: Sample, config: Config) -> tuple[int, tuple[tuple[int, int], ...]]:
    if sample.kind == "image":
        from PIL import Image

        try:
            with open_file(Path(str(sample.path))) as file, Image.open(file) as image:
                return INSTRUCTION_TOKENS, (image.size,)
        except OSError as error:
            raise StageError(f"the size of {sample.path} cannot be read: {error}", "repair or remove it") from error
    tokenizer = Path(config.model.path or "") / "tokenizer.json"
    if not tokenizer.is_file():
        raise StageError(
            "the tokens of the first sample cannot be counted: the model has no tokenizer.json",
            "set pipeline.static_analysis.use_synthetic_inputs: true",
        )
    from tokenizers import Tokenizer

    text = sample.text if sample.text is not None else read_file(Path(str(sample.path))).decode()
    return len(Tokenizer.from_file(str(tokenizer)).encode(text).ids), ()
