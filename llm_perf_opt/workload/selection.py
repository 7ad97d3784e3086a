"""Choosing the next token, exactly as transformers' `generate()` does for the same settings.

The logits processors are the ones `generate()` itself would build: those of the configuration, those that the
checkpoint's `generation_config.json` asks for, and transformers' defaults (50 likeliest tokens when sampling).
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import LogitsProcessorList

from llm_perf_opt.config.schema import Infer
from llm_perf_opt.workload.loaded import Batch
from llm_perf_opt.workload.transformers_private import generation_settings, logits_processors


class Selector:
    """Greedy or sampled choice behind logits processors; made once for a model, then for every batch."""

    def __init__(self, model: Any, infer: Infer) -> None:
        self._model = model
        self._infer = infer
        self._asked = _asked_for(infer)
        self._settings = generation_settings(model, self._asked)

    def for_batch(self, batch: Batch) -> Choice:
        processors = logits_processors(self._model, self._settings, self._asked, batch.input_ids, batch.attention_mask)
        return Choice(processors, sample=self._infer.do_sample)

    def unasked(self, batch: Batch) -> tuple[str, ...]:
        """The processors that the configuration did not ask for, with their settings."""
        own = {
            "NoRepeatNGramLogitsProcessor": self._infer.no_repeat_ngram_size is not None,
            "TemperatureLogitsWarper": True,
            "TopPLogitsWarper": self._infer.top_p is not None,
        }
        return tuple(_described(item) for item in self.for_batch(batch).processors if not own.get(type(item).__name__))


class Choice:
    """The choice for the rows of one batch."""

    def __init__(self, processors: LogitsProcessorList, *, sample: bool) -> None:
        self.processors = processors
        self._sample = sample

    def __call__(self, history: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Token ids (rows,) from `logits` (rows, vocabulary); `history` (rows, tokens) is all ids before."""
        scores = logits.to(torch.float32, copy=True)
        if self.processors:
            scores = self.processors(history, scores)
        if self._sample:
            return torch.multinomial(torch.softmax(scores, dim=-1), num_samples=1).squeeze(1)
        return scores.argmax(dim=-1)


def _asked_for(infer: Infer) -> dict[str, Any]:
    """`generate()`'s arguments; null in the configuration leaves the checkpoint's own value."""
    found: dict[str, Any] = {"max_new_tokens": infer.max_new_tokens, "do_sample": infer.do_sample, "num_beams": 1}
    if infer.do_sample:
        found["temperature"] = infer.temperature
    if infer.top_p is not None:
        found["top_p"] = infer.top_p
    if infer.no_repeat_ngram_size is not None:
        found["no_repeat_ngram_size"] = infer.no_repeat_ngram_size
    if not infer.stop_on_eos:
        found["eos_token_id"] = None
    return found


def _described(processor: object) -> str:
    values = [f"{key}={value}" for key, value in vars(processor).items() if isinstance(value, int | float)]
    return f"{type(processor).__name__}({', '.join(values)})"
