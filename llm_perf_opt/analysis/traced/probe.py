"""Short passes of a model without weights: a prompt, once for its last logits and once for all, and two steps."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from llm_perf_opt.analysis.traced.counter import Call, Counter, add_missing_formulas
from llm_perf_opt.analysis.traced.kernels import recorded
from llm_perf_opt.analysis.traced.model import Built, Once
from llm_perf_opt.analysis.traced.vision import image_inputs, run_vision
from llm_perf_opt.errors import ConfigError

PROMPT = 7
"""Longer than the usual convolution, shorter than any window; a prime, so that a count tells what it is made of."""


@dataclass(frozen=True, slots=True)
class Traced:
    """What one forward pass called, and the parameters it used."""

    calls: Sequence[Call]
    touched: frozenset[str]


@dataclass(frozen=True, slots=True)
class Kept:
    """What one layer of the cache keeps of a sequence."""

    per_position: int
    """Elements that each position adds."""
    window: int | None
    """Positions it keeps and the layer sees, at most."""
    chunked: bool
    fixed: tuple[tuple[str, int, bool], ...]
    """Other tensors: name, elements, whether they are float32."""


@dataclass(frozen=True, slots=True)
class Probed:
    """The passes, and what they left in the cache, by layer; None for a model that keeps nothing there."""

    passes: tuple[Traced, ...]
    cache: tuple[Kept, ...] | None
    all_logits: bool
    """The model computes the logits of every position, wanted or not."""


class LayersRunAgain(Exception):
    """Layers and caches do not match one to one, so no layer can stand for another."""


def _tensors(layer: object) -> dict[str, torch.Tensor]:
    """Tensors of one layer of the cache, by name; a state may be several, numbered."""
    found = {}
    for name, value in vars(layer).items():
        if isinstance(value, torch.Tensor) and value.dim() > 1:
            found[name] = value
        elif isinstance(value, dict):
            found.update({f"{name}.{key}": item for key, item in value.items() if isinstance(item, torch.Tensor)})
    return found


class Prober:
    """Forward passes of one model without its weights.

    Args:
        deduplicate: run equal layers once; False runs every layer (the full trace, for tests).
    """

    def __init__(self, built: Built, *, deduplicate: bool = True) -> None:
        add_missing_formulas()
        self.built = built
        model = built.model
        parameters: dict[int, str] = {}
        for name, parameter in model.named_parameters():
            parameters.setdefault(id(parameter), name)
        self.counter = Counter({id(module): path for path, module in model.named_modules()}, parameters)
        self.once = Once(built, self.counter) if deduplicate else None
        self.accepted = inspect.signature(model.forward).parameters
        if built.recorder is not None:
            built.recorder.counter = self.counter

    def _cache_argument(self) -> str:
        for name in ("cache", "past_key_values", "cache_params"):
            if name in self.accepted:
                return name
        raise ConfigError(
            f"{self.built.where}: this model keeps its past in a way of its own, which tracing does not see",
            "no figure is given rather than a wrong one",
        )

    def forward(self, tokens: int, cache: Any, *, batch: int = 1, every: bool = False) -> Traced:
        """One pass of `tokens` new tokens a sequence."""
        named: dict[str, Any] = {self._cache_argument(): cache, "use_cache": True}
        if "logits_to_keep" in self.accepted:
            named["logits_to_keep"] = 0 if every else 1
        self._begin()
        tokens_in = torch.ones(batch, tokens, dtype=torch.long, device="meta")
        model = self.built.model
        with torch.no_grad(), recorded(model, self.counter), self.counter.watching(), self.counter:
            model(input_ids=tokens_in, **named)
        return Traced(tuple(self.counter.calls), frozenset(self.counter.touched))

    def _begin(self) -> None:
        self.counter.clear()
        if self.once is not None:
            self.once.forget()

    def new_cache(self) -> Any:
        """An empty cache, as transformers makes it for this model."""
        from transformers import DynamicCache

        return DynamicCache(config=self.built.config)

    def probe(self) -> Probed:
        """The prompt, and two steps after it."""
        every = self.forward(PROMPT, self.new_cache(), every=True)
        cache = self.new_cache()
        prompt = self.forward(PROMPT, cache)
        first = self.forward(1, cache)
        before = [{name: t.numel() for name, t in _tensors(layer).items()} for layer in cache.layers]
        second = self.forward(1, cache)
        kept = [self._kept(index, layer, before[index]) for index, layer in enumerate(cache.layers)]
        passes = (prompt, every, first, second)
        return Probed(passes, self._by_layer(kept), "logits_to_keep" not in self.accepted)

    def _kept(self, index: int, layer: object, before: dict[str, int]) -> Kept:
        window = getattr(layer, "sliding_window", None)
        types = getattr(self.built.text_config, "layer_types", None) or ()
        chunked = index < len(types) and types[index] == "chunked_attention"
        grown, fixed = 0, []
        for name, tensor in _tensors(layer).items():
            added = tensor.numel() - before.get(name, 0)
            if added == 0 and window and name in ("keys", "values"):
                added = tensor.numel() // tensor.shape[-2]
            if added:
                grown += added
            else:
                fixed.append((name, tensor.numel(), tensor.dtype == torch.float32))
        return Kept(grown, int(window) if window else None, chunked, tuple(fixed))

    def _by_layer(self, kept: list[Kept]) -> tuple[Kept, ...] | None:
        """Layers that were not run keep what the one that stands for them keeps."""
        if not any(layer.per_position or layer.fixed for layer in kept):
            return None
        if self.once is None:
            return tuple(kept)
        ran = self.once.positions(len(kept))
        if ran is None:
            raise LayersRunAgain
        return tuple(kept[ran[index]] for index in range(len(kept)))

    def vision(self, images: Sequence[tuple[int, int]]) -> tuple[Traced, int]:
        """One pass of the image path, and the tokens it hands to the prompt."""
        inputs = image_inputs(self.built, images)
        self._begin()
        model = self.built.model
        with torch.no_grad(), recorded(model, self.counter), self.counter.watching(), self.counter:
            tokens = run_vision(model, inputs)
        return Traced(tuple(self.counter.calls), frozenset(self.counter.touched)), tokens
