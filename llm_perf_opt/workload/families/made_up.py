"""Samples of given sizes, drawn from a seed: token ids and images that need neither a tokenizer nor a processor."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from llm_perf_opt.analysis.traced.vision import image_path
from llm_perf_opt.records.inputs import MadeUp

_SPECIAL = ("_token_id", "_token_ids", "_token_index")


def drawn_ids(hf_config: Any, tokens: int, seed: int) -> list[int]:
    """Ids of ordinary tokens; none that the model's configuration gives a meaning of its own."""
    text = hf_config.get_text_config(decoder=True)
    ordinary = torch.ones(text.vocab_size, dtype=torch.bool)
    special = [number for part in (hf_config, text) for number in _special_ids(part) if number < text.vocab_size]
    ordinary[special] = False
    allowed = ordinary.nonzero().squeeze(1)
    generator = torch.Generator().manual_seed(seed)
    found: list[int] = allowed[torch.randint(len(allowed), (tokens,), generator=generator)].tolist()
    return found


def _special_ids(part: Any) -> list[int]:
    values = [value for name, value in vars(part).items() if name.endswith(_SPECIAL)]
    return [
        number for value in values for number in (value if isinstance(value, list) else [value]) if number is not None
    ]


def drawn_images(made: MadeUp) -> list[Image.Image]:
    """Images of noise."""
    generator = np.random.default_rng(made.seed)
    return [
        Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8)) for width, height in made.images
    ]


def around(text: Sequence[int], images: Sequence[int], image_id: int) -> list[int]:
    """The ids of a prompt: runs of so many image tokens with the text in equal parts before, between and after them."""
    parts = len(images) + 1
    edges = [len(text) * number // parts for number in range(parts + 1)]
    found = list(text[: edges[1]])
    for number, tokens in enumerate(images, 1):
        found += [image_id] * tokens
        found += text[edges[number] : edges[number + 1]]
    return found


def image_tokens(model: Any, features: Mapping[str, Any]) -> list[int]:
    """Tokens that each image takes in the prompt, counted by a pass through the model's own image path."""
    features_of = image_path(model)
    takes = inspect.signature(features_of).parameters
    with torch.inference_mode():
        found = features_of(**{name: value for name, value in features.items() if name in takes})
    pooled = getattr(found, "pooler_output", found)
    rows = list(pooled) if not isinstance(pooled, torch.Tensor) or pooled.ndim > 2 else [pooled]
    return [row.shape[:-1].numel() for row in rows]
