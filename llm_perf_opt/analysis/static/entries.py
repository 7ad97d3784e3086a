"""Attention to entries that each stand for several positions: compressed keys, and the scores an indexer gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from llm_perf_opt.analysis.static.operators import Weightless
from llm_perf_opt.analysis.static.passes import Pass


@dataclass(frozen=True, slots=True)
class EntryAttention(Weightless):
    """Products of every query with the entries it sees: 2·pairs·heads·width, an entry for each `stride` positions."""

    name: str
    heads: int
    width: int
    """Of queries and keys, plus that of values where entries are summed up too."""
    stride: int
    selected: int | None = None
    """Entries that an indexer lets each query see at most."""
    masked: bool = True
    """transformers multiplies all entries and masks some; False where it multiplies none but those in sight."""
    cache_elements: int = 0
    """Elements that one entry keeps."""
    pending: int = 0
    """Elements that a position keeps until its entry is complete."""
    overlap: int = 0
    """Elements that the last entry leaves for the next one."""

    kind: ClassVar[str] = "attention"

    def flops(self, step: Pass) -> int:
        everything = step.full and self.masked
        pairs = step.all_entries(self.stride) if everything else step.entries(self.stride, self.selected)
        return 2 * pairs * self.heads * self.width

    def activations(self, step: Pass) -> int:
        return step.tokens * self.heads * self.width

    def cache_read(self, step: Pass) -> int:
        """Cache elements read: entries from before a step, and what was pending of those that it completes."""
        made = step.made_entries(self.stride)
        if step.decoding:
            first = step.batch if made and step.past < self.stride else 0
            entries = step.cached_entries(self.stride, self.selected)
            return (
                entries * self.cache_elements + made * (self.stride - 1) * self.pending + (made - first) * self.overlap
            )
        before, rest = divmod(step.past, self.stride)
        overlap = self.overlap if before and made else 0
        return step.batch * (before * self.cache_elements + (rest * self.pending if made else 0) + overlap)

    def cache_written(self, step: Pass) -> int:
        """Cache elements written: entries that are complete, and what waits for the others."""
        made = step.made_entries(self.stride)
        if step.decoding:
            return made * (self.cache_elements + self.overlap) + (step.tokens - made) * self.pending
        waiting = min(step.queries, (step.past + step.queries) % self.stride)
        overlap = self.overlap if made else 0
        return made * self.cache_elements + step.batch * (waiting * self.pending + overlap)

    def cache_held(self, tokens: int) -> int:
        """Elements one sequence keeps in this layer's cache after `tokens` tokens."""
        entries, rest = divmod(tokens, self.stride)
        return entries * self.cache_elements + rest * self.pending + (self.overlap if entries else 0)
