"""Which rows of a pass go through an operator, and how many these are."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from llm_perf_opt.analysis.static.passes import Pass


class Rows(Enum):
    """Which rows of a pass go through a linear layer."""

    TOKENS = "tokens"
    """Each new token."""
    LOGITS = "logits"
    """The positions whose logits are wanted."""
    KEYS = "keys"
    """Each position in sight, cached ones too (latent attention expanding its cache)."""
    SOURCE = "source"
    """Each position that an encoder reads, in the first pass over a sequence."""
    POSITIONS = "positions"
    """Each position in sight, once for all sequences of a pass."""
    KEYS_IN_PREFILL = "keys in prefill"
    """Each position in sight in a pass of many queries, the new token alone in a decode step."""


@dataclass(frozen=True, slots=True)
class Once:
    """Rows that only the first pass over a sequence has: what a later step finds in its cache."""

    rows: int


@dataclass(frozen=True, slots=True)
class KeysInWindow:
    """Rows that are the positions which a sliding layer has in sight, cached ones too."""

    window: int


@dataclass(frozen=True, slots=True)
class Together:
    """Rows that a pass has once, however many sequences and tokens it has."""

    rows: int


Some = Rows | Once | Together | KeysInWindow | int
"""Which rows go through a product; a number is per sequence and step."""


def _in_window(window: int, step: Pass) -> int:
    return step.pairs(window) if step.steps > 1 else step.batch * (min(step.past, window - 1) + step.queries)


def rows_of(rows: Some, step: Pass) -> int:
    if isinstance(rows, int):
        return rows * step.batch * step.steps
    if isinstance(rows, KeysInWindow):
        return _in_window(rows.window, step)
    if isinstance(rows, Together):
        return rows.rows * step.steps
    return _once(rows, step) if isinstance(rows, Once) else _growing(rows, step)


def _once(rows: Once, step: Pass) -> int:
    return 0 if step.past else rows.rows * step.batch


def _growing(rows: Rows, step: Pass) -> int:
    if rows is Rows.TOKENS:
        return step.tokens
    if rows is Rows.LOGITS:
        return step.batch * step.logits
    if rows is Rows.SOURCE:
        return 0 if step.past else step.batch * step.source
    if rows is Rows.POSITIONS:
        return step.keys() // step.batch
    if rows is Rows.KEYS_IN_PREFILL and step.decoding:
        return step.tokens
    return step.keys()


def steps_with(rows: int, step: Pass) -> int:
    """Readings of the weights: one a step, none where no row needs them."""
    return step.steps if rows else 0
