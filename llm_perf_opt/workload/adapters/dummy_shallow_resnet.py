"""A shallow ResNet with seeded random weights that pushes the NVTX ranges A, A::A1 (in A) and B in every forward.

It is there to try captures on a small, known model. It generates nothing: its record has the forward pass as prefill,
no prompt tokens, the index of the likeliest class as the one new token, and no decode.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.workload.adapter import Adapter

if TYPE_CHECKING:
    import torch

    from llm_perf_opt.workload.loaded import LoadedModel


def model_config(config: Config) -> Mapping[str, Any]:
    """The model's sizes."""
    return {"model_type": "dummy_shallow_resnet", "channels": 16, "image_size": 64, "classes": 10}


def load(config: Config, device: torch.device) -> LoadedModel:
    from llm_perf_opt.workload.families.shallow_resnet import load_shallow_resnet

    if config.model.weights == "pretrained":
        raise ConfigError("dummy_shallow_resnet has no pretrained weights", "set model.weights: random")
    return load_shallow_resnet(config, device, model_config(config))


ADAPTER = Adapter(
    modality="image",
    model_config=model_config,
    load=load,
    has_checkpoint=False,
    modules=(),
    own_ranges=("A", "A::A1", "B"),
)
