"""Any decoder-only language model that transformers loads: a model directory, or a `.gguf` file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llm_perf_opt.analysis.static.source import read_config
from llm_perf_opt.config.schema import Config
from llm_perf_opt.records.inputs import Sample, SampleSizes
from llm_perf_opt.workload.adapter import Adapter
from llm_perf_opt.workload.kinds import TEXT, check_runs
from llm_perf_opt.workload.weights import model_path

if TYPE_CHECKING:
    import torch

    from llm_perf_opt.workload.loaded import LoadedModel


def model_config(config: Config) -> Mapping[str, Any]:
    """`config.json` of the model; of a GGUF file, the equivalent of its metadata.

    Raises:
        ConfigError: it is no decoder-only language model.
    """
    path = model_path(config.model)
    if path.suffix == ".gguf":
        from llm_perf_opt.workload.gguf_config import read_gguf_config

        return read_gguf_config(path)
    found = read_config(path)[0]
    check_runs(found, TEXT, str(path))
    return found


def sizes(config: Config, sample: Sample) -> SampleSizes:
    from llm_perf_opt.workload.building import tokenizer_without_code
    from llm_perf_opt.workload.families.causal_lm import prompt_sizes

    return prompt_sizes(tokenizer_without_code(config), sample)


def load(config: Config, device: torch.device) -> LoadedModel:
    from llm_perf_opt.workload.families.causal_lm import load_causal_lm

    return load_causal_lm(config, device)


ADAPTER = Adapter(
    modality="text",
    model_config=model_config,
    load=load,
    sizes=sizes,
    modules=(),
    shards=True,
    anybodys_code=True,
)
