"""The likest word."""

from __future__ import annotations

from collections.abc import Sequence


def likeness(word: str, other: str) -> float:
    """0 (nothing in common) to 1 (the same, but for case)."""
    import difflib

    return difflib.SequenceMatcher(None, word.lower(), other.lower()).ratio()


def nearest(word: str, words: Sequence[str]) -> str:
    """The likest of `words`, always one; of equals, the first in the alphabet."""
    return min(words, key=lambda other: (-likeness(word, other), other))


def is_near(word: str, other: str) -> bool:
    """Whether `other` is likely what was meant by `word`."""
    return likeness(word, other) >= 0.6
