"""DeepSeek-OCR-2 and its relatives of transformers' own classes (SAM tower, encoder, projector, MoE decoder)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llm_perf_opt.analysis.static.pages import TiledPages
from llm_perf_opt.analysis.static.source import read_config
from llm_perf_opt.config.schema import Config
from llm_perf_opt.records.inputs import Sample, SampleSizes
from llm_perf_opt.workload.adapter import Adapter
from llm_perf_opt.workload.preprocess import processor_pages, tiled_pages_of
from llm_perf_opt.workload.weights import model_path

if TYPE_CHECKING:
    import torch

    from llm_perf_opt.workload.loaded import LoadedModel


def model_config(config: Config) -> Mapping[str, Any]:
    """`config.json` of the model."""
    return read_config(model_path(config.model))[0]


def pages(config: Config) -> TiledPages:
    """As the model's files say, but for what `model.preprocess` sets."""
    return tiled_pages_of(config, processor_pages(model_path(config.model)))


def sizes(config: Config, sample: Sample) -> SampleSizes:
    from llm_perf_opt.workload.families.deepseek_ocr import sample_sizes
    from llm_perf_opt.workload.families.image_text import load_processor

    return sample_sizes(load_processor(config), config, pages(config), sample)


def load(config: Config, device: torch.device) -> LoadedModel:
    from llm_perf_opt.workload.families.deepseek_ocr import load_deepseek_ocr

    return load_deepseek_ocr(config, device, pages(config))


ADAPTER = Adapter(
    modality="image",
    model_config=model_config,
    load=load,
    pages=pages,
    sizes=sizes,
    output_family="deepseek_ocr",
    modules=("sam", "clip", "projector"),
)
