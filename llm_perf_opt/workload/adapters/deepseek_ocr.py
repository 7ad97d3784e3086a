"""DeepSeek-OCR, first version: its Python code comes with the model, so it runs only with `trust_remote_code`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llm_perf_opt.analysis.static.source import read_config
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.records.inputs import Sample, SampleSizes
from llm_perf_opt.workload.adapter import Adapter
from llm_perf_opt.workload.preprocess import gundam_pages
from llm_perf_opt.workload.weights import model_path

if TYPE_CHECKING:
    import torch

    from llm_perf_opt.workload.loaded import LoadedModel


def model_config(config: Config) -> Mapping[str, Any]:
    """`config.json` of the model."""
    return read_config(model_path(config.model))[0]


def permit(config: Config) -> None:
    """Refuse to run the code that comes with the model, unless that is allowed.

    Raises:
        ConfigError: it is not.
    """
    if not config.model.trust_remote_code:
        raise ConfigError(
            f"{model_path(config.model)} runs Python code of its own, and model.trust_remote_code is false",
            "read that code and set model.trust_remote_code: true if you trust it",
        )


def sizes(config: Config, sample: Sample) -> SampleSizes:
    from llm_perf_opt.workload.families.deepseek_ocr_v1 import sample_sizes

    return sample_sizes(config, sample)


def load(config: Config, device: torch.device) -> LoadedModel:
    from llm_perf_opt.workload.families.deepseek_ocr_v1 import load_deepseek_ocr_v1

    permit(config)
    return load_deepseek_ocr_v1(config, device)


ADAPTER = Adapter(
    modality="image",
    model_config=model_config,
    load=load,
    pages=gundam_pages,
    permit=permit,
    sizes=sizes,
    output_family="deepseek_ocr",
    modules=("sam", "clip", "projector"),
)
