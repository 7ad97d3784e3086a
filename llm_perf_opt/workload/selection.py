"""Choosing the next token, exactly as transformers' `generate()` does for the same settings."""

from __future__ import annotations

import torch
from transformers import (
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from llm_perf_opt.config.schema import Infer


class Selector:
    """Greedy or sampled choice behind the logits processors of the configuration."""

    def __init__(self, infer: Infer) -> None:
        self._sample = infer.do_sample
        self._processors = LogitsProcessorList()
        if infer.no_repeat_ngram_size is not None:
            self._processors.append(NoRepeatNGramLogitsProcessor(infer.no_repeat_ngram_size))
        # The n-gram processor reads the ids on the host and so waits for the device in every step.
        self.syncs_host = bool(self._processors)
        if infer.do_sample:
            if infer.temperature != 1.0:
                self._processors.append(TemperatureLogitsWarper(infer.temperature))
            if infer.top_p is not None and infer.top_p < 1.0:
                self._processors.append(TopPLogitsWarper(infer.top_p))

    def __call__(self, history: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Token ids (rows,) from `logits` (rows, vocabulary); `history` (rows, tokens) is all ids before."""
        scores = logits.to(torch.float32, copy=True)
        if self._processors:
            scores = self._processors(history, scores)
        if self._sample:
            return torch.multinomial(torch.softmax(scores, dim=-1), num_samples=1).squeeze(1)
        return scores.argmax(dim=-1)
