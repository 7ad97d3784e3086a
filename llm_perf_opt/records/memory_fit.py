"""Whether a model fits into the memory of a GPU."""

from __future__ import annotations

from pydantic import ConfigDict

from llm_perf_opt.records.base import Record


class MemoryFit(Record):
    """What must be in memory at the end of the generation, and the largest batch that leaves room for it."""

    model_config = ConfigDict(populate_by_name=True)

    weight_bytes: int
    kv_bytes: int
    """Cache of the whole batch after the last token."""
    state_bytes: int = 0
    """Recurrent and convolution state of the whole batch."""
    activation_bytes: int
    """Input and output of the widest operator of prefill, and the logits: an estimate of the working set."""
    total_bytes: int
    memory_bytes: int
    fits: bool
    largest_batch: int
    """At these lengths; 0 where the weights alone do not fit."""
