"""Attention of an encoder, alone or before a decoder, and of a decoder to what an encoder has read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from llm_perf_opt.analysis.static.operators import Weightless
from llm_perf_opt.analysis.static.passes import Pass


@dataclass(frozen=True, slots=True)
class SourceAttention(Weightless):
    """Products with the positions that an encoder reads: 2·pairs·heads·width.

    All of them see each other, once; every token of the decoder sees all of them.
    """

    name: str
    heads: int
    width: int
    """Of queries and keys, plus that of values."""
    own: bool
    """Of the encoder among its own positions; False of the decoder, which caches their keys and values."""
    cache_elements: int = 0
    """Elements that one position of the encoder keeps in the decoder's cache."""

    kind: ClassVar[str] = "attention"

    def _queries(self, step: Pass) -> int:
        if not self.own:
            return step.tokens
        return 0 if step.past else step.batch * step.source

    def flops(self, step: Pass) -> int:
        return 2 * self._queries(step) * step.source * self.heads * self.width

    def activations(self, step: Pass) -> int:
        return self._queries(step) * self.heads * self.width

    def cache_read(self, step: Pass) -> int:
        """Cache elements read: all of them at every step but the first."""
        return step.batch * (step.steps if step.past else step.steps - 1) * step.source * self.cache_elements

    def cache_written(self, step: Pass) -> int:
        """Cache elements written."""
        return 0 if step.past else step.batch * step.source * self.cache_elements

    def cache_held(self, source: int) -> int:
        """Elements one sequence keeps for `source` positions of its encoder."""
        return source * self.cache_elements


@dataclass(frozen=True, slots=True)
class BothWays(Weightless):
    """Products of positions that see each other whatever their order, and are never cached: 2·pairs·heads·width."""

    name: str
    heads: int
    width: int
    """Of queries and keys, plus that of values."""
    reach: int | None = None
    """Positions that one sees on each side of its own; None is all."""

    kind: ClassVar[str] = "attention"

    def flops(self, step: Pass) -> int:
        size = step.queries
        far = size - 1 if self.reach is None or step.full else min(self.reach, size - 1)
        # Of the band, what lies beyond either end is missing.
        pairs = size * (2 * far + 1) - far * (far + 1)
        return 2 * step.batch * pairs * self.heads * self.width

    def activations(self, step: Pass) -> int:
        return 2 * step.tokens * self.heads * self.width
