"""What a model carries from one forward pass to the next, as `generate()` carries it for each class."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from transformers import DynamicCache

from llm_perf_opt.errors import StageError
from llm_perf_opt.workload.transformers_private import takes_dynamic_cache

KEYS_AND_VALUES, RECURRENT_CACHE, STATE = "past_key_values", "cache_params", "state"


@dataclass(frozen=True)
class Past:
    """How one class of models takes its past."""

    name: str
    """The argument of its forward pass."""
    config: Any
    made_here: bool = True
    """`generate()` gives it an empty one; otherwise the model makes it."""

    @property
    def is_recurrent(self) -> bool:
        """Whether it is a state of fixed size: no mask and no positions go with a step."""
        return self.name != KEYS_AND_VALUES

    def fresh(self) -> Any:
        """The past of a prompt that has not been read."""
        cache = DynamicCache(config=self.config) if self.made_here else None
        return Carried(cache) if self.is_recurrent else cache


class Carried:
    """A past that the model may hand back as another object."""

    def __init__(self, value: Any) -> None:
        self.value = value


def past_of(model: Any) -> Past:
    """How `model` takes its past.

    Raises:
        StageError: in no way that is known here; without its past every decode step would be of one token alone.
    """
    takes = inspect.signature(model.forward).parameters
    known = [name for name in (KEYS_AND_VALUES, RECURRENT_CACHE, STATE) if name in takes]
    made_here = takes_dynamic_cache(model)
    if not known or (known[0] == KEYS_AND_VALUES and not made_here):
        raise StageError(
            f"a {type(model).__name__} carries its past from step to step in a way that llmperf does not know",
            "give a model with a KV cache, or a recurrent one that takes cache_params or state",
        )
    return Past(known[0], model.config, made_here and known[0] != STATE)
