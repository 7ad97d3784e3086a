"""Attention over a cache, to positions of an image, and inside an encoder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from llm_perf_opt.analysis.static.operators import Weightless
from llm_perf_opt.analysis.static.passes import Pass


@dataclass(frozen=True, slots=True)
class Attention(Weightless):
    """Scores and weighted values over the cache: 2·pairs·heads·(qk_dim + v_dim)."""

    name: str
    heads: int
    qk_dim: int
    v_dim: int
    cache_elements: int
    """Elements one cached position of one layer holds; the keys and values of all its heads, or a latent."""
    window: int | None = None
    chunked: bool = False
    """The window does not slide: it cuts the positions into chunks, none of which sees another."""
    selected: int | None = None
    """Keys that an indexer lets each query see at most; all of them stay cached."""
    block: int | None = None
    """Positions that are selected together; those of the last, unfinished block are seen beside the selected."""
    from_start: bool = False
    """Nothing is kept: every step runs all positions again, and multiplies all of them."""
    owns_cache: bool = True
    """False where the layer reads the keys and values that another layer has cached."""
    decode_dims: tuple[int, int] | None = None
    """Query-key and value widths of a decode step where they differ (absorbed latent attention)."""
    bidirectional_prompt: bool = False
    """The positions of a prompt see each other whatever their order (prefix language models)."""
    last_only: bool = False
    """Only the positions whose logits are wanted ask; the keys are those of another layer."""

    kind: ClassVar[str] = "attention"

    def _chosen(self, seen: Pass, selected: int) -> int:
        if self.block is None:
            return seen.pairs(selected)
        left_out = seen.entries(self.block) - seen.entries(self.block, selected // self.block)
        return seen.pairs() - self.block * left_out

    def _width(self, step: Pass) -> int:
        if self.decode_dims is not None and step.decoding:
            return sum(self.decode_dims)
        return self.qk_dim + self.v_dim

    def flops(self, step: Pass) -> int:
        seen = replace(step, full=True) if self.bidirectional_prompt and not step.decoding else step
        if self.last_only:
            seen = replace(seen, past=step.past + step.queries - step.logits, queries=step.logits)
        if self.from_start and step.past:
            return 2 * seen.pairs_from_start() * self.heads * self._width(step)
        if self.selected is not None and not seen.full:
            return 2 * self._chosen(seen, self.selected) * self.heads * self._width(step)
        return 2 * seen.pairs(self.window, chunked=self.chunked) * self.heads * self._width(step)

    def activations(self, step: Pass) -> int:
        # Queries in, contexts out; keys and values are the cache's traffic. Scores stay on chip in a fused kernel.
        return step.tokens * self.heads * self._width(step)

    def cache_read(self, step: Pass) -> int:
        """Cache elements read; where two layers use the same keys and values, by the one that owns them."""
        if not self.owns_cache:
            return 0
        # Where a decode step runs on the cache as it is, only what the indexer selects is read.
        window = self.selected if self.decode_dims is not None and step.decoding else self.window
        return step.cached_read(window or self.window, chunked=self.chunked) * self.cache_elements

    def cache_written(self, step: Pass) -> int:
        """Cache elements written."""
        return step.cached_written(self.window) * self.cache_elements if self.owns_cache else 0

    def cache_held(self, tokens: int) -> int:
        """Elements one sequence keeps in this layer's cache after `tokens` tokens."""
        if not self.owns_cache:
            return 0
        kept = tokens if self.window is None else min(tokens, max(1, self.window - 1))
        return kept * self.cache_elements


@dataclass(frozen=True, slots=True)
class CrossAttention(Weightless):
    """Attention of every token to `keys` positions that do not grow (of an image), cached by the first pass."""

    name: str
    heads: int
    head_dim: int
    keys: int
    cache_elements: int

    kind: ClassVar[str] = "attention"

    def flops(self, step: Pass) -> int:
        return 4 * step.tokens * self.keys * self.heads * self.head_dim

    def activations(self, step: Pass) -> int:
        return 2 * step.tokens * self.heads * self.head_dim

    def cache_read(self, step: Pass) -> int:
        """Cache elements read: all of them at every step but the first."""
        return step.batch * (step.steps if step.past else step.steps - 1) * self.keys * self.cache_elements

    def cache_written(self, step: Pass) -> int:
        """Cache elements written."""
        return 0 if step.past else step.batch * self.keys * self.cache_elements

    def cache_held(self, tokens: int) -> int:
        """Elements one sequence keeps, however many tokens it has."""
        return self.keys * self.cache_elements


@dataclass(frozen=True, slots=True)
class EncoderAttention(Weightless):
    """An encoder's attention: `groups` of positions that see each other (how many groups, positions of each).

    With `causal_tail` the last positions of each group see only what is before them, their own included; the
    others see each other alone. Where nothing is masked, all pairs count under either convention.
    """

    name: str
    heads: int
    head_dim: int
    groups: tuple[tuple[int, int], ...]
    causal_tail: int = 0

    kind: ClassVar[str] = "attention"

    def _pairs(self, size: int, full: bool) -> int:
        if full or not self.causal_tail:
            return size * size
        tail, seen = self.causal_tail, size - self.causal_tail
        return seen * seen + tail * seen + tail * (tail + 1) // 2

    def flops(self, step: Pass) -> int:
        pairs = sum(count * self._pairs(size, step.full) for count, size in self.groups)
        return 4 * step.batch * pairs * self.heads * self.head_dim

    def activations(self, step: Pass) -> int:
        positions = sum(count * size for count, size in self.groups)
        return 4 * step.batch * positions * self.heads * self.head_dim
