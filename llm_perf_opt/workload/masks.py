"""The padding mask of decode steps, in a form that transformers takes as it is.

Given two dimensions, transformers looks whether anything is masked at all, which waits for the device in every step. A
boolean mask of four dimensions goes to SDPA unread, and so does a dictionary of them, one for each kind of layer, which
models that mix kinds take (`generate()` gives them one itself on a static cache).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers.cache_utils import DynamicSlidingWindowLayer, get_layer_types_and_kwargs

from llm_perf_opt.workload.loaded import Batch, LoadedModel

FULL, SLIDING = "full_attention", "sliding_attention"

Mask = torch.Tensor | dict[str, torch.Tensor]
MaskAt = Callable[[int], Mask]
"""The mask of the step that makes the keys so many."""


def step_masks(loaded: LoadedModel, batch: Batch, most_new: int, cache: Any) -> MaskAt | None:
    """The masks of decode steps on the growing `cache`; None where nothing is padded."""
    if batch.attention_mask is None:
        return None
    ones = batch.attention_mask.new_ones((batch.rows, most_new))
    mask = torch.cat([batch.attention_mask, ones], dim=1)
    kinds = set(get_layer_types_and_kwargs(loaded.model.config.get_text_config(decoder=True))[0]) - {"dummy"}
    if loaded.built.attention != "sdpa" or not kinds <= {FULL, SLIDING}:
        return lambda length: mask[:, :length]
    unread = mask[:, None, None, :].bool()
    if SLIDING not in kinds:
        return lambda length: unread[..., :length]
    (window,) = {layer.sliding_window for layer in cache.layers if isinstance(layer, DynamicSlidingWindowLayer)}
    if kinds == {SLIDING}:
        return lambda length: unread[..., max(length - window, 0) : length]
    return lambda length: {FULL: unread[..., :length], SLIDING: unread[..., max(length - window, 0) : length]}
