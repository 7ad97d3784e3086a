"""Any vision-language model that transformers loads for images and text, from a model directory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llm_perf_opt.analysis.static.source import read_config
from llm_perf_opt.config.schema import Config
from llm_perf_opt.records.inputs import Sample, SampleSizes
from llm_perf_opt.workload.adapter import Adapter
from llm_perf_opt.workload.kinds import IMAGE_TEXT, check_runs
from llm_perf_opt.workload.weights import model_path

if TYPE_CHECKING:
    import torch

    from llm_perf_opt.workload.loaded import LoadedModel


def model_config(config: Config) -> Mapping[str, Any]:
    """`config.json` of the model.

    Raises:
        ConfigError: it is no model that writes about images.
    """
    path = model_path(config.model)
    found = read_config(path)[0]
    check_runs(found, IMAGE_TEXT, str(path))
    return found


def sizes(config: Config, sample: Sample) -> SampleSizes:
    from llm_perf_opt.workload.families.image_text import sample_sizes

    return sample_sizes(config, sample)


def load(config: Config, device: torch.device) -> LoadedModel:
    from llm_perf_opt.workload.families.image_text import load_image_text

    return load_image_text(config, device)


ADAPTER = Adapter(
    modality="image",
    model_config=model_config,
    load=load,
    sizes=sizes,
    modules=("vision", "projector"),
    shards=True,
    anybodys_code=True,
)
