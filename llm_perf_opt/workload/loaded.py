"""A model that is ready to run: the one interface the loop drives, whatever the family."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import StaticCache

from llm_perf_opt.records.inputs import Sample
from llm_perf_opt.workload.building import Built
from llm_perf_opt.workload.inputs import BadSampleError
from llm_perf_opt.workload.past import Carried, Past, past_of
from llm_perf_opt.workload.transformers_private import decoding


@dataclass
class Batch:
    """Inputs of one prefill, on the device.

    `input_ids` is (rows, padded_tokens), left-padded; `attention_mask` likewise, or None where nothing is padded
    (passing one makes transformers look into it, which waits for the device).
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor | None
    prompt_tokens: tuple[int, ...]
    image_tokens: tuple[int, ...]
    image_sizes: tuple[tuple[int, int], ...] = ()
    views: tuple[tuple[tuple[int, int], ...], ...] = ()
    positions: torch.Tensor | None = None
    """Position ids of the prompt, (…, rows, padded_tokens); None where they are 0, 1, 2, … in every row (given them,
    FlashAttention looks whether they are, which waits for the device)."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the prefill, such as pixels."""

    @property
    def rows(self) -> int:
        return int(self.input_ids.shape[0])

    @property
    def padded_tokens(self) -> int:
        return int(self.input_ids.shape[1])


class LoadedModel(ABC):
    """A transformers model on its device, with explicit prefill and decode on a KV cache."""

    def __init__(self, built: Built, tokenizer: Any) -> None:
        model = built.model
        self.built = built
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.device = built.device
        self.eos_token_ids = _token_ids(model.generation_config.eos_token_id)
        self.pad_token_id = _pad_token_id(model, tokenizer, self.eos_token_ids)
        self.window = _window(model)
        takes = inspect.signature(model.forward).parameters
        self.past = self._past_of(model)
        # Prefill needs the logits of the last token only; models that cannot say so compute them all.
        prepare = getattr(model, "prepare_inputs_for_generation", None)
        # Code that came with a model may have one from before caches of fixed length.
        self._prepares = prepare is not None and "next_sequence_length" in inspect.signature(prepare).parameters
        self._takes_positions = "position_ids" in takes
        self.last_logits = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}

    def _past_of(self, model: Any) -> Past:
        """How the model takes its past; families that generate nothing have none."""
        return past_of(model)

    @abstractmethod
    def prepare(self, samples: Sequence[Sample]) -> Batch:
        """Read and preprocess `samples` into one batch on the device.

        Raises:
            BadSampleError: one of them cannot be used; the message names it.
        """

    def check_window(self, tokens: int, source: str) -> None:
        """Refuse a prompt of `tokens` that leaves no room for a new token in the model's window.

        Raises:
            BadSampleError: with both numbers.
        """
        if self.window is not None and tokens >= self.window:
            raise BadSampleError(
                f"{source}: its prompt of {tokens:,} tokens does not fit the model's window of {self.window:,} tokens "
                "and one new token"
            )

    def check_tokens(self, largest: int, source: str) -> None:
        """Refuse a prompt whose `largest` token the model has no embedding of.

        Raises:
            BadSampleError: with both numbers.
        """
        table = self.model.get_input_embeddings()
        known = getattr(table, "num_embeddings", None)
        if known is not None and largest >= (known := known + getattr(table, "num_additional_embeddings", 0)):
            raise BadSampleError(
                f"{source}: the tokenizer makes the token {largest:,} of it, and the model has {known:,}: it is the "
                "tokenizer of another model"
            )

    def most_new(self, batch: Batch, wanted: int) -> int:
        """New tokens that fit the model's window behind `batch`, at most `wanted`."""
        return wanted if self.window is None else min(wanted, self.window - batch.padded_tokens)

    def first_decoded(self, batch: Batch) -> torch.Tensor | None:
        """Position ids (…, rows, 1) of the first decoded token; None for a model that takes none.

        Not left to the model: some count from 0 in every step.
        """
        if batch.positions is not None:
            return batch.positions[..., -1:] + 1
        if not self._takes_positions:
            return None
        return torch.full((batch.rows, 1), batch.padded_tokens, device=self.device)

    @abstractmethod
    def synthetic(self) -> Batch:
        """A small made-up batch of the same kind as a real one, for warm-up."""

    @abstractmethod
    def modules(self) -> Mapping[str, torch.nn.Module]:
        """The submodules that get a range of their own, by the name of the range."""

    def prefill(self, batch: Batch, cache: Any) -> torch.Tensor:
        """Logits (rows, vocabulary) of the last position of the prompt; fills `cache`."""
        if self.past.is_recurrent:
            return self._recur(self.model, batch.input_ids, cache, batch.attention_mask, self.last_logits)
        output = self.model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            position_ids=batch.positions,
            use_cache=True,
            **{self.past.name: cache},
            **batch.extra,
            **self.last_logits,
        )
        return _last(output.logits)

    def decode(
        self,
        token: torch.Tensor,
        cache: Any,
        mask: torch.Tensor | dict[str, torch.Tensor] | None,
        positions: torch.Tensor | None,
        call: Any = None,
    ) -> torch.Tensor:
        """Logits (rows, vocabulary) after `token` (rows,), whose keys and values join `cache`.

        `call` stands in for the model's own forward pass where that is compiled.
        """
        if self.past.is_recurrent:
            return self._recur(call or self.model, token[:, None], cache, None, {})
        output = (call or self.model)(
            input_ids=token[:, None],
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            **{self.past.name: cache},
        )
        return _last(output.logits)

    def prefill_fixed(self, batch: Batch, cache: StaticCache) -> torch.Tensor:
        """`prefill` on a cache of fixed length: masks are of that length, as `generate()` hands them over."""
        if self.past.is_recurrent:
            return self.prefill(batch, Carried(cache))
        if not self._prepares or batch.attention_mask is None:
            # Asked for the masks of a prompt that is not padded, it makes none, and the model asks once more.
            return self.prefill(batch, cache)
        given = {**batch.extra, **self.last_logits}
        inputs = self._prepared(batch.input_ids, cache, batch.attention_mask, batch.positions, first=True, **given)
        return _last(self.model(**inputs).logits)

    def decode_fixed(
        self,
        token: torch.Tensor,
        cache: StaticCache,
        mask: torch.Tensor | None,
        positions: torch.Tensor | None,
        call: Any = None,
    ) -> torch.Tensor:
        """`decode` on a cache of fixed length; `mask` is of that length too."""
        if self.past.is_recurrent:
            return self.decode(token, Carried(cache), None, None, call)
        if not self._prepares:
            return self.decode(token, cache, mask, positions, call)
        inputs = self._prepared(token[:, None], cache, mask, positions, first=False)
        return _last((call or self.model)(**inputs).logits)

    def _prepared(
        self,
        ids: torch.Tensor,
        cache: StaticCache,
        mask: torch.Tensor | None,
        positions: torch.Tensor | None,
        *,
        first: bool,
        **given: Any,
    ) -> dict[str, Any]:
        if positions is not None and self._takes_positions:
            given["position_ids"] = positions
        found: dict[str, Any] = self.model.prepare_inputs_for_generation(
            ids,
            next_sequence_length=ids.shape[1],
            attention_mask=mask,
            is_first_iteration=first,
            use_cache=True,
            **{self.past.name: cache},
            **given,
        )
        return found

    def _recur(
        self, call: Any, ids: torch.Tensor, past: Carried, mask: torch.Tensor | None, options: dict[str, Any]
    ) -> torch.Tensor:
        name = self.past.name
        output = call(input_ids=ids, attention_mask=mask, use_cache=True, **{name: past.value}, **options)
        past.value = getattr(output, name)
        return _last(output.logits)

    def decoding(self) -> AbstractContextManager[None]:
        """Around decode steps: off the CPU, transformers has a faster implementation of experts for few tokens."""
        return decoding(self.model)

    def raw_text(self, ids: Sequence[int]) -> str:
        """The text of `ids`, special tokens included; of a model without a tokenizer, the ids."""
        if self.tokenizer is None:
            return " ".join(map(str, ids))
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False))

    def clean_text(self, ids: Sequence[int]) -> str:
        """The text of `ids` for a reader; families whose special tokens carry a layout keep those."""
        if self.tokenizer is None:
            return self.raw_text(ids)
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))


def padded_positions(mask: torch.Tensor) -> torch.Tensor:
    """Positions (rows, tokens) that count the useful tokens of a left-padded `mask`; padding gets 0."""
    return (mask.cumsum(-1) - 1).clamp_(min=0)


def _last(logits: torch.Tensor) -> torch.Tensor:
    return logits[:, -1]


def _window(model: Any) -> int | None:
    """Most positions the model was made for; None for models without such a limit."""
    found = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
    return found if isinstance(found, int) and found > 0 else None


def _token_ids(value: int | Sequence[int] | None) -> tuple[int, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, int) else tuple(value)


def _pad_token_id(model: Any, tokenizer: Any, eos: tuple[int, ...]) -> int:
    """The id that fills rows which are finished: the model's, the tokenizer's, else end-of-sequence, else 0."""
    own = None if tokenizer is None else tokenizer.pad_token_id
    for candidate in (model.generation_config.pad_token_id, own, *eos[:1]):
        if candidate is not None:
            return int(candidate)
    return 0
