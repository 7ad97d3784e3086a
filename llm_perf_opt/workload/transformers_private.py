"""What `generate()` does inside, asked by names that transformers does not promise to keep: named here alone.

A release that has moved one loses what hangs on it and no more: `missing` says which, and how figures differ without
it. tests/unit/workload/test_private_names.py fails for it before a user sees the note.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers import LogitsProcessorList, NoRepeatNGramLogitsProcessor, TemperatureLogitsWarper, TopPLogitsWarper
from transformers.generation import GenerationMixin


@dataclass(frozen=True)
class Private:
    """A method of GenerationMixin, and what is lost without it."""

    name: str
    parameters: tuple[str, ...]
    """That are given by name."""
    without: str

    @property
    def is_there(self) -> bool:
        found = getattr(GenerationMixin, self.name, None)
        return found is not None and set(self.parameters) <= set(inspect.signature(found).parameters)


SETTINGS = Private(
    "_prepare_generation_config",
    ("generation_config", "kwargs"),
    "defaults that generate() takes from the model are left out",
)
TOKENS = Private(
    "_prepare_special_tokens",
    ("generation_config", "kwargs_has_attention_mask"),
    "only the logits processors that the configuration asks for are applied",
)
PROCESSORS = Private(
    "_get_logits_processor",
    ("generation_config", "input_ids_seq_length", "encoder_input_ids", "device", "model_kwargs"),
    "only the logits processors that the configuration asks for are applied",
)
POSITIONS = Private(
    "_prepare_position_ids_for_generation",
    ("inputs_tensor", "model_kwargs"),
    "models that number the tokens of an image in their own way get them numbered in a row",
)
DECODING = Private(
    "_optimize_model_for_decode",
    (),
    "decode runs the experts of a mixture as prefill does, which is slower on a GPU",
)
CACHE = Private(
    "_supports_default_dynamic_cache",
    (),
    "models with a cache of their own kind are not told from the others",
)
CARRIED = Private(
    "_update_model_kwargs_for_generation",
    ("outputs", "model_kwargs"),
    "models that carry their past in a way of their own are refused",
)
NAMES = (CARRIED, SETTINGS, TOKENS, PROCESSORS, POSITIONS, DECODING, CACHE)


def missing() -> tuple[str, ...]:
    """What this transformers lacks, and how figures differ for it."""
    version = transformers.__version__
    return tuple(f"transformers {version} has no {it.name} as known: {it.without}" for it in NAMES if not it.is_there)


def generation_settings(model: Any, asked: Mapping[str, Any]) -> Any:
    """The generation configuration that `generate(**asked)` would work with."""
    if SETTINGS.is_there:
        settings, _ = model._prepare_generation_config(None, **asked)
    else:
        settings = copy.deepcopy(model.generation_config)
        settings.update(**asked)
    if TOKENS.is_there:
        model._prepare_special_tokens(settings, kwargs_has_attention_mask=True)
    return settings


def logits_processors(
    model: Any, settings: Any, asked: Mapping[str, Any], input_ids: torch.Tensor, mask: torch.Tensor | None
) -> LogitsProcessorList:
    """The processors that `generate()` would build for a batch; those of `asked` alone where it cannot be asked."""
    if PROCESSORS.is_there and TOKENS.is_there:
        found: LogitsProcessorList = model._get_logits_processor(
            settings,
            input_ids_seq_length=input_ids.shape[1],
            encoder_input_ids=input_ids,
            device=input_ids.device,
            model_kwargs={"attention_mask": mask},
        )
        return found
    made = LogitsProcessorList()
    if (size := asked.get("no_repeat_ngram_size")) is not None:
        made.append(NoRepeatNGramLogitsProcessor(size))
    if (temperature := asked.get("temperature")) not in (None, 1.0):
        made.append(TemperatureLogitsWarper(temperature))
    if asked.get("do_sample") and (share := asked.get("top_p")) is not None and share < 1:
        made.append(TopPLogitsWarper(share))
    return made


def own_positions(
    model: Any, input_ids: torch.Tensor, mask: torch.Tensor, features: Mapping[str, Any]
) -> torch.Tensor | None:
    """Position ids as `generate()` has them, of a class that numbers the tokens of an image otherwise than in a row (as
    Qwen-VL does in 3-D); None for other classes."""
    own = getattr(type(model), POSITIONS.name, None)
    if not POSITIONS.is_there or own is getattr(GenerationMixin, POSITIONS.name):
        return None
    found: torch.Tensor = model._prepare_position_ids_for_generation(input_ids, {"attention_mask": mask, **features})
    return found


def prompt_positions(model: Any, input_ids: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor | None:
    """Position ids of a prompt as `generate()` has them; None for a class that is given none."""
    if not POSITIONS.is_there or "position_ids" not in inspect.signature(model.forward).parameters:
        return None
    known = {} if mask is None else {"attention_mask": mask}
    found: torch.Tensor | None = model._prepare_position_ids_for_generation(input_ids, known)
    return found


def takes_dynamic_cache(model: Any) -> bool:
    """Whether `generate()` would make a `DynamicCache` for this class."""
    asked = getattr(type(model), CACHE.name, None)
    return asked is None or bool(asked())


def can_be_asked(model: Any) -> bool:
    """Whether a class says what goes into its next step."""
    return CARRIED.is_there and bool(getattr(model, "can_generate", bool)())


def carried(model: Any, output: Any, given: dict[str, Any]) -> dict[str, Any]:
    """What goes with the next step, beside its ids: what went with this one and what came out of it."""
    found: dict[str, Any] = model._update_model_kwargs_for_generation(output, given)
    return found


def decoding(model: Any) -> AbstractContextManager[None]:
    """Around decode steps: off the CPU, transformers has a faster implementation of experts for few tokens."""
    optimize = getattr(model, DECODING.name, None)
    found: AbstractContextManager[None] = nullcontext() if optimize is None else optimize()
    return found
