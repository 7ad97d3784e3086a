"""What a model carries from one forward pass to the next, as `generate()` carries it for each class."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from transformers import DynamicCache
from transformers.cache_utils import CacheLayerMixin

from llm_perf_opt.errors import StageError
from llm_perf_opt.workload.transformers_private import can_be_asked, takes_dynamic_cache

CACHE, STATE = "cache", "state"
NAMES = (CACHE, "past_key_values", "cache_params", STATE)
"""As transformers names it; remote code written for releases before 5.24 has the second or third; RWKV the last."""


@dataclass(frozen=True)
class Past:
    """How one class of models takes its past."""

    name: str
    """The argument of its forward pass."""
    config: Any
    made_here: bool = True
    """`generate()` gives it an empty one; otherwise the model makes it."""
    is_recurrent: bool = False
    """Whether it is a state of fixed size: no mask and no positions go with a step."""
    is_own: bool = False
    """Whether its class alone knows what goes into a step: it is asked, as `generate()` asks it."""

    def fresh(self) -> Any:
        """The past of a prompt that has not been read."""
        cache = DynamicCache(config=self.config) if self.made_here else None
        return Carried(cache) if self.is_recurrent else cache


class Carried:
    """A past that the model may hand back as another object."""

    def __init__(self, value: Any) -> None:
        self.value = value


_OWN_WAY = frozenset({"CpmAntForCausalLM", "Kosmos2_5ForConditionalGeneration"})
"""Classes of transformers whose steps take something else than their names of arguments say."""


def past_of(model: Any) -> Past:
    """How `model` takes its past.

    Raises:
        StageError: in no way that is known here; without its past every decode step would be of one token alone.
    """
    takes = inspect.signature(model.forward).parameters
    name = next((name for name in NAMES if name in takes), None)
    made_here = takes_dynamic_cache(model) and name != STATE
    if name is None or not (made_here or _keeps_no_keys(name, takes)) or type(model).__name__ in _OWN_WAY:
        if type(model).__module__.startswith("transformers.") and can_be_asked(model):
            return Past(name or CACHE, model.config, made_here and name is not None, is_own=True)
        raise StageError(
            f"a {type(model).__name__} carries its past from step to step in a way that llmperf does not know",
            "give a model with a KV cache, or a recurrent one that takes cache or state",
        )
    recurrent = _holds_no_keys(model.config) if made_here else True
    return Past(name, model.config, made_here, recurrent)


def _holds_no_keys(config: Any) -> bool:
    """Whether all that an empty cache of this model has room for is state."""
    layers = DynamicCache(config=config).layers
    return bool(layers) and not any(isinstance(layer, CacheLayerMixin) for layer in layers)


def _keeps_no_keys(name: str, takes: Any) -> bool:
    """Whether a class that makes its past itself makes a state: keys would need positions to go with them."""
    return name in ("cache_params", STATE) or "position_ids" not in takes
