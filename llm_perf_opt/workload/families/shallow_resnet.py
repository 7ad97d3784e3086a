"""The shallow ResNet of the adapter `dummy_shallow_resnet`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.generation import GenerationMixin

from llm_perf_opt.config.schema import Config
from llm_perf_opt.records.inputs import Sample
from llm_perf_opt.workload.building import Built, build
from llm_perf_opt.workload.images import read_image
from llm_perf_opt.workload.loaded import Batch, LoadedModel
from llm_perf_opt.workload.past import CACHE, Past
from llm_perf_opt.workload.ranges import Range


class ShallowResNetConfig(PreTrainedConfig):  # type: ignore[misc]
    """Sizes of the network."""

    model_type = "dummy_shallow_resnet"
    channels: int = 16
    image_size: int = 64
    classes: int = 10
    num_hidden_layers: int = 0  # of a decoder: there is none, and so no cache


class Block(nn.Module):
    """Two convolutions beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return torch.relu(hidden + self.second(torch.relu(self.first(hidden))))


class ShallowResNet(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """Stem, two blocks under `A` (the second under `A::A1` as well), one under `B`, classifier."""

    config_class = ShallowResNetConfig
    _supports_sdpa = True

    def __init__(self, config: ShallowResNetConfig) -> None:
        super().__init__(config)
        self.stem = nn.Conv2d(3, config.channels, 7, stride=2, padding=3)
        self.a0 = Block(config.channels)
        self.a1 = Block(config.channels)
        self.b = Block(config.channels)
        self.head = nn.Linear(config.channels, config.classes)
        self._a, self._a1, self._b = Range("A"), Range("A::A1"), Range("B")
        self.post_init()

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Logits (rows, classes) of pixels (rows, 3, side, side)."""
        hidden = torch.relu(self.stem(pixel_values))
        with self._a:
            hidden = self.a0(hidden)
            with self._a1:
                hidden = self.a1(hidden)
        with self._b:
            hidden = self.b(hidden)
        logits: torch.Tensor = self.head(hidden.mean((2, 3)))
        return logits


class ClassNames:
    """Stands in for a tokenizer: an id is a class."""

    pad_token_id = 0

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        return " ".join(f"class {index}" for index in ids)


class ShallowResNetModel(LoadedModel):
    """One forward pass per batch; no prompt, no cache, no decode."""

    def __init__(self, built: Built) -> None:
        super().__init__(built, ClassNames())

    def _past_of(self, model: Any) -> Past:
        return Past(CACHE, model.config)  # a name for nothing: it makes no second step

    def prepare(self, samples: Sequence[Sample]) -> Batch:
        return self._batch([read_image(Path(str(sample.path))) for sample in samples])

    def synthetic(self) -> Batch:
        return self._batch([Image.new("RGB", (64, 64), "white")])

    def modules(self) -> Mapping[str, nn.Module]:
        return {}  # the network pushes its ranges itself

    def most_new(self, batch: Batch, wanted: int) -> int:
        return 1

    def prefill(self, batch: Batch, cache: Any) -> torch.Tensor:
        logits: torch.Tensor = self.model(**batch.extra)
        return logits

    def _batch(self, images: list[Image.Image]) -> Batch:
        side = self.model.config.image_size
        arrays = np.stack([np.asarray(image.resize((side, side)), dtype=np.float32) for image in images])
        pixels = torch.from_numpy(arrays).permute(0, 3, 1, 2) / 127.5 - 1.0
        none = (0,) * len(images)
        return Batch(
            input_ids=torch.zeros((len(images), 0), dtype=torch.long, device=self.device),
            attention_mask=None,
            prompt_tokens=none,
            image_tokens=none,
            image_sizes=tuple((image.width, image.height) for image in images),
            views=(((side, side),),) * len(images),
            extra={"pixel_values": pixels.to(self.device, self.model.dtype)},
        )


def load_shallow_resnet(config: Config, device: torch.device, sizes: Mapping[str, Any]) -> ShallowResNetModel:
    """The network with weights drawn from `model.seed`."""
    hf_config = ShallowResNetConfig(**{name: value for name, value in sizes.items() if name != "model_type"})
    dtype = torch.float32 if config.model.dtype == "auto" else getattr(torch, config.model.dtype)
    built = build(lambda _attention: ShallowResNet(hf_config), config, dtype, device)
    return ShallowResNetModel(built)
