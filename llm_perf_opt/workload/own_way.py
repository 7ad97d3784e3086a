"""Decoding of a class that carries its past in a way of its own: it is asked for every step, as `generate()` asks it.

Slower than what is prepared here for the others, and what `generate()` takes as well.
"""

from __future__ import annotations

from typing import Any

import torch

from llm_perf_opt.workload.loaded import Batch, LoadedModel
from llm_perf_opt.workload.transformers_private import carried, prompt_positions


class OwnWay:
    """One generation under way; see `llm_perf_opt.workload.execution.Decoding`.

    Args:
        cache: an empty one, for a class that does not make its past itself.
    """

    def __init__(self, loaded: LoadedModel, batch: Batch, call: Any, cache: Any) -> None:
        self._model = loaded.model
        self._call = call
        self._ids = batch.input_ids
        given = {
            loaded.past.name: cache,
            "attention_mask": batch.attention_mask,
            "position_ids": prompt_positions(loaded.model, batch.input_ids, batch.attention_mask),
            **batch.extra,
            **loaded.last_logits,
        }
        self._given = {name: value for name, value in given.items() if value is not None} | {"use_cache": True}

    def prefill(self) -> torch.Tensor:
        return self._run(self._model, self._model.prepare_inputs_for_generation(
            self._ids, is_first_iteration=True, **self._given
        ))  # fmt: skip

    def step(self, token: torch.Tensor) -> torch.Tensor:
        self._ids = torch.cat([self._ids, token[:, None]], dim=1)
        inputs = self._model.prepare_inputs_for_generation(self._ids, next_sequence_length=1, **self._given)
        return self._run(self._call, inputs)

    def _run(self, call: Any, inputs: dict[str, Any]) -> torch.Tensor:
        output = call(**inputs, return_dict=True)
        self._given = carried(self._model, output, self._given)
        logits: torch.Tensor = output.logits[:, -1]
        return logits
