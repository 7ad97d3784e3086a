"""As many values as can be told apart as dots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T", bound=Any)


def evenly(values: Sequence[T], most: int) -> list[T]:
    """All, or of more than `most` (two at least) that many, evenly over their order, both ends among them."""
    if len(values) <= most:
        return list(values)
    ordered = sorted(values)
    return [ordered[round(at * (len(ordered) - 1) / (most - 1))] for at in range(most)]
