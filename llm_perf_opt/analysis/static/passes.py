"""Forward passes: how many tokens, keys and query-key pairs one of them has.

Everything a count depends on beside the model is in a `Pass`. A run of single-token decode steps is a
pass too: summed over its steps it has the tokens and pairs of one causal pass over the same positions,
so a whole generation is counted in closed form, at each step's own context.
"""

from __future__ import annotations

from dataclasses import dataclass


def _arithmetic(first: int, count: int) -> int:
    """Sum of `count` consecutive integers beginning with `first`."""
    return count * first + count * (count - 1) // 2


def _chunked_pairs(positions: int, chunk: int) -> int:
    """Pairs of the first positions, each of which sees its chunk up to itself."""
    whole, rest = divmod(positions, chunk)
    return whole * (chunk * (chunk + 1) // 2) + rest * (rest + 1) // 2


def _entries(positions: int, stride: int, most: int | None) -> int:
    """Entries that the first positions see, of one a `stride` of them: each sees those that it completes or follows."""
    capped = positions if most is None else min(positions, stride * most)
    whole, rest = divmod(capped, stride)
    seen = stride * (whole * (whole - 1) // 2) + whole * (rest + 1)
    return seen + (positions - capped) * (most or 0)


@dataclass(frozen=True, slots=True)
class Pass:
    """One forward pass, or `steps` consecutive single-token passes, of `batch` equally long sequences.

    `queries` counts the new tokens of a sequence over all steps, `past` those cached before the first step,
    `logits` the positions of a sequence that go through the output head. With `full` the attention of a
    step counts the whole query x key rectangle, else only the pairs that a causal, windowed kernel computes.
    """

    batch: int
    queries: int
    past: int
    logits: int
    steps: int = 1
    full: bool = False
    source: int = 0
    """Positions of a sequence that an encoder has read, for a decoder that looks at them."""

    @property
    def tokens(self) -> int:
        """New tokens of all sequences and steps."""
        return self.batch * self.queries

    @property
    def tokens_per_step(self) -> int:
        """Tokens that share one reading of the weights."""
        return self.batch * self.queries // self.steps

    @property
    def decoding(self) -> bool:
        """Whether each step adds one token to what is cached."""
        return self.queries == self.steps

    def pairs(self, window: int | None = None, *, chunked: bool = False) -> int:
        """Query-key pairs of one head over all sequences.

        Args:
            window: keys a query sees at most, its own included; None sees all before it.
            chunked: the window does not slide: positions are cut into chunks of it, none of which sees another.
        """
        if self.full and self.steps == 1:
            past = self.past if window is None else min(self.past, window - 1)
            return self.batch * self.queries * (past + self.queries)
        if window is not None and chunked:
            return self.batch * (_chunked_pairs(self.past + self.queries, window) - _chunked_pairs(self.past, window))
        # Causal: query i sees past + i + 1 keys, at most the window.
        growing = self.queries if window is None else min(self.queries, max(0, window - self.past))
        total = _arithmetic(self.past + 1, growing)
        if window is not None:
            total += (self.queries - growing) * window
        return self.batch * total

    def pairs_from_start(self) -> int:
        """Query-key pairs of one head where every step runs all positions again, none of them masked."""

        def up_to(size: int) -> int:
            return size * (size + 1) * (2 * size + 1) // 6

        last = self.past + self.queries
        return self.batch * (last * last if self.steps == 1 else up_to(last) - up_to(self.past))

    def entries(self, stride: int, most: int | None = None) -> int:
        """Query-entry pairs of one head over all sequences, where each `stride` positions leave one entry.

        Args:
            most: entries that are chosen for a query, at most; None is all that it sees.
        """
        first = _entries(self.past, stride, most)
        return self.batch * (_entries(self.past + self.queries, stride, most) - first)

    def all_entries(self, stride: int) -> int:
        """The same without a mask: every query of a step by every entry that there is after it."""
        if self.steps == 1:
            return self.batch * self.queries * ((self.past + self.queries) // stride)
        return self.entries(stride)

    def cached_entries(self, stride: int, most: int | None = None) -> int:
        """Entries that single-token steps find in the cache, summed over steps and sequences."""
        first = _entries(max(0, self.past - 1), stride, most)
        return self.batch * (_entries(self.past + self.queries - 1, stride, most) - first)

    def made_entries(self, stride: int) -> int:
        """Entries that the positions of this pass complete, over all sequences."""
        return self.batch * ((self.past + self.queries) // stride - self.past // stride)

    def keys(self) -> int:
        """Positions that each step sees, cached and new, summed over steps and sequences."""
        if self.steps == 1:
            return self.batch * (self.past + self.queries)
        return self.batch * _arithmetic(self.past + 1, self.queries)

    def cached_read(self, window: int | None = None, *, chunked: bool = False) -> int:
        """Cached positions read by one layer, summed over steps and sequences."""
        if self.steps == 1:
            if window is None:
                return self.batch * self.past
            return self.batch * (self.past % window if chunked else min(self.past, window - 1))
        return self.pairs(window, chunked=chunked) - self.tokens

    def cached_written(self, window: int | None = None) -> int:
        """New positions one layer writes and keeps: a sliding layer drops all but the last window - 1."""
        if window is None or self.steps > 1:
            return self.tokens
        return self.batch * min(self.queries, max(1, window - 1))


def prefill(batch: int, tokens: int, *, all_logits: bool, full: bool, source: int = 0) -> Pass:
    """The pass over a whole prompt of `tokens` tokens."""
    return Pass(batch, tokens, 0, tokens if all_logits else 1, full=full, source=source)


def prefill_chunks(
    batch: int, tokens: int, chunk: int, *, all_logits: bool, full: bool, source: int = 0
) -> tuple[Pass, ...]:
    """The prompt in pieces of at most `chunk` tokens, each attending what came before it.

    Only the last piece goes through the head when the logits of the last token are wanted.
    """
    starts = range(0, tokens, chunk)
    passes = []
    for start in starts:
        size = min(chunk, tokens - start)
        logits = size if all_logits else int(start + size == tokens)
        passes.append(Pass(batch, size, start, logits, full=full, source=source))
    return tuple(passes)


def decode_step(batch: int, context: int, source: int = 0) -> Pass:
    """One step with `context` cached tokens: it attends context + 1 keys."""
    return Pass(batch, 1, context, 1, source=source)


def decode_run(batch: int, context: int, steps: int, source: int = 0) -> Pass:
    """`steps` decode steps, the first with `context` cached tokens."""
    return Pass(batch, steps, context, steps, steps=steps, source=source)
