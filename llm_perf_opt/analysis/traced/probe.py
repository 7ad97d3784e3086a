"""Short passes of a model without weights: a prompt, once for its last logits and once for all, and two steps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from llm_perf_opt.analysis.traced.counter import Call, Counter, add_missing_formulas
from llm_perf_opt.analysis.traced.kernels import homes_of, recorded
from llm_perf_opt.analysis.traced.known_values import KnownValues
from llm_perf_opt.analysis.traced.model import Built, Once
from llm_perf_opt.analysis.traced.modules import put_stand_ins
from llm_perf_opt.analysis.traced.vision import image_inputs, run_vision
from llm_perf_opt.errors import ConfigError

PROMPT = 7
"""Longer than the usual convolution; a prime, so that a count tells what it is made of."""
_Found = TypeVar("_Found")
_STRIDES = ("compress_rate", "compress_ratio", "index_kpool")
"""How the modules that make one entry of several positions call their number."""


def stride_of(module: torch.nn.Module) -> int | None:
    """Positions that one entry of this module stands for; None where it makes none."""
    found = next((getattr(module, name) for name in _STRIDES if hasattr(module, name)), None)
    return found if isinstance(found, int) and found > 1 else None


def _prompt(model: torch.nn.Module) -> int:
    """Tokens of the prompt: enough for one entry of each kind."""
    least = max((stride_of(module) or 0 for module in model.modules()), default=0)
    return next(n for n in range(max(PROMPT, least), 2 * least + PROMPT + 1) if all(n % k for k in range(2, n)))


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
    entries: tuple[tuple[int, int, int], ...] = ()
    """Of each kind of entry: elements it keeps, that a position keeps until then, that it leaves for the next one."""
    source: int = 0
    """Elements that each position of an encoder adds."""


@dataclass(frozen=True, slots=True)
class Probed:
    """The passes, and what they left in the cache, by layer; None for a model that keeps nothing there."""

    prompt: int
    """Tokens of the first passes."""
    passes: tuple[Traced, ...]
    cache: tuple[Kept, ...] | None
    all_logits: bool
    """The model computes the logits of every position, wanted or not."""
    source: int | None = None
    """Positions that an encoder has read in these passes."""
    alone: tuple[tuple[int, int], ...] = ()
    """Of an encoder alone: sequences and tokens of each pass."""


class LayersRunAgain(Exception):
    """Layers and caches do not match one to one, so no layer can stand for another."""


def _tensors(layer: object) -> dict[str, torch.Tensor]:
    """Tensors of one layer of the cache, by name; a state may be several, numbered."""
    found: dict[str, torch.Tensor] = {}
    for name, value in vars(layer).items():
        if isinstance(value, torch.Tensor) and value.dim() > 1 and not any(value is other for other in found.values()):
            found[name] = value
        elif isinstance(value, dict):
            found.update({f"{name}.{key}": item for key, item in value.items() if isinstance(item, torch.Tensor)})
    return found


def keeps_the_prompt(layer: object) -> bool:
    """Whether a layer of a cache has a window that slides over the new tokens alone."""
    return hasattr(layer, "prefill_length")


def _entries(layer: object) -> tuple[tuple[int, int, int], ...]:
    """What a layer of the cache keeps of each kind of entry; see `Kept.entries`."""
    # Those of a layer that was not run have none.
    made: dict[str, torch.Tensor | None] = getattr(layer, "compressed_kv", {})
    kinds = [kind for kind, tensor in made.items() if tensor is not None]

    def width(kind: str, *names: str) -> int:
        return sum(int(getattr(layer, name)[kind].shape[-1]) for name in names)

    return tuple(
        (width(kind, "compressed_kv"), width(kind, "buffer_kv", "buffer_gate"), _left(layer, kind)) for kind in kinds
    )


def _left(layer: object, kind: str) -> int:
    """Elements that the last entry leaves for the next one, of one sequence."""
    left = (getattr(layer, name, {}).get(kind) for name in ("overlap_kv", "overlap_gate"))
    return sum(tensor.numel() for tensor in left if tensor is not None)


def _tells_positions(path: str) -> bool:
    """Whether a table is called like one of positions."""
    name = path.rpartition(".")[2]
    return name == "wpe" or "pos" in name.split("_") or "position" in name


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
        self._homes = homes_of(model)
        put_stand_ins(model, self.counter)
        self.once = Once(built, self.counter) if deduplicate else None
        self.accepted = inspect.signature(model.forward).parameters
        if built.recorder is not None:
            built.recorder.counter = self.counter

    def _cache_argument(self) -> str | None:
        """How its forward pass calls the cache; None for a model that keeps nothing and runs all tokens every time."""
        for name in ("cache", "past_key_values", "cache_params"):
            if name in self.accepted:
                return name
        own = [name for name in self.accepted if name == "state" or any(part in name for part in ("past", "mems"))]
        if own:
            raise ConfigError(
                f"{self.built.where}: this model keeps its past in a way of its own ({', '.join(own)}), which tracing "
                "does not see",
                "no figure is given rather than a wrong one",
            )
        return None

    @property
    def keeps_nothing(self) -> bool:
        """Whether every step runs all tokens again."""
        return self._cache_argument() is None

    def forward(self, tokens: int, cache: Any, *, past: int = 0, batch: int = 1, every: bool = False) -> Traced:
        """One pass of `tokens` new tokens a sequence, after `past` others."""
        argument = self._cache_argument()
        named: dict[str, Any] = {argument: cache, "use_cache": True} if argument else {}
        if argument is None:
            tokens += past
        if "logits_to_keep" in self.accepted:
            named["logits_to_keep"] = 0 if every else 1
        return self._pass({"input_ids": torch.ones(batch, tokens, dtype=torch.long, device="meta"), **named})

    def _pass(self, named: dict[str, Any]) -> Traced:
        return self._recorded(lambda: self.built.model(**named))[1]

    def _recorded(self, run: Callable[[], _Found]) -> tuple[_Found, Traced]:
        """What `run` returns, and what it called."""
        self.counter.clear()
        if self.once is not None:
            self.once.forget()
        with torch.no_grad(), recorded(self._homes, self.counter), self.counter.watching(), self.counter:
            found = run()
        return found, Traced(tuple(self.counter.calls), frozenset(self.counter.touched))

    def new_cache(self) -> Any:
        """An empty cache, as transformers makes it for this model."""
        from transformers import DynamicCache

        return DynamicCache(config=self.built.config)

    def probe(self) -> Probed:
        """The prompt, and two steps after it."""
        tokens = _prompt(self.built.model)
        every = self.forward(tokens, self.new_cache(), every=True)
        cache = self.new_cache()
        prompt = self.forward(tokens, cache)
        first = self.forward(1, cache, past=tokens)
        before = [{name: t.numel() for name, t in _tensors(layer).items()} for layer in cache.layers]
        second = self.forward(1, cache, past=tokens + 1)
        kept = [self._kept(index, layer, before[index]) for index, layer in enumerate(cache.layers)]
        passes = (prompt, every, first, second)
        return Probed(tokens, passes, self._by_layer(kept), "logits_to_keep" not in self.accepted)

    def positions(self, step: Traced) -> int | None:
        """Rows of the table of positions that a step uses; None where it uses none."""
        rows = [
            module.num_embeddings - int(getattr(module, "offset", 0))
            for path, module in self.built.model.named_modules()
            if isinstance(module, torch.nn.Embedding) and _tells_positions(path) and f"{path}.weight" in step.touched
        ]
        return min(rows, default=None)

    def _kept(self, index: int, layer: object, before: dict[str, int]) -> Kept:
        window = None if keeps_the_prompt(layer) else getattr(layer, "sliding_window", None)
        types = getattr(self.built.text_config, "layer_types", None) or ()
        chunked = index < len(types) and types[index] == "chunked_attention"
        grown, fixed = 0, []
        entries = _entries(layer)
        for name, tensor in _tensors(layer).items():
            if entries and "." in name:
                continue
            added = tensor.numel() - before.get(name, 0)
            if added == 0 and window and name in ("keys", "values"):
                added = tensor.numel() // tensor.shape[-2]
            if added:
                grown += added
            else:
                fixed.append((name, tensor.numel(), tensor.dtype == torch.float32))
        return Kept(grown, int(window) if window else None, chunked, tuple(fixed), entries)

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

    def vision(
        self, images: Sequence[tuple[int, int]], *, views: bool = False, pixel_limits: tuple[int, int] | None = None
    ) -> tuple[Traced, int]:
        """One pass of the image path, and the tokens it hands to the prompt.

        Args:
            views: the sizes are of what goes through the tower, cut and resized already.
        pixel_limits: fewest and most pixels of an image whose shape is kept; None is as the type's processor has it.
        """
        inputs = image_inputs(self.built, images, views=views, pixel_limits=pixel_limits)
        tokens, traced = self._recorded(lambda: self._seen(inputs))
        return traced, tokens

    def _seen(self, inputs: Any) -> int:
        with KnownValues():  # type: ignore[no-untyped-call]
            return run_vision(self.built.model, inputs)
