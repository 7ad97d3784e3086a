"""Distinct values of long columns: most of them hold few, in long runs or as small numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int = NDArray[Any]
DENSE = 1 << 22


def factorized(values: Int) -> tuple[NDArray[np.int64], Int]:
    """The sorted distinct values, and the position of each value among them: `np.unique` with its inverse."""
    if not len(values):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    low, high = int(values.min()), int(values.max())
    if high - low < DENSE:
        return _dense(values, low, high)
    starts = np.flatnonzero(np.diff(values, prepend=values[0] - 1 if values[0] > np.iinfo(np.int64).min else 1))
    if len(starts) > len(values) // 4:
        unique, inverse = np.unique(values, return_inverse=True)
        return unique, inverse
    unique, inverse = np.unique(values[starts], return_inverse=True)
    return unique, np.repeat(inverse, np.diff(starts, append=len(values)))


def _dense(values: Int, low: int, high: int) -> tuple[NDArray[np.int64], Int]:
    if low == high:
        return np.array([low], np.int64), np.zeros(len(values), np.int32)
    seen = np.zeros(high - low + 1, np.bool_)
    shifted = values - low if low else values
    seen[shifted] = True
    unique = np.flatnonzero(seen)
    table = np.zeros(len(seen), np.int32)
    table[unique] = np.arange(len(unique))
    return unique + low, table[shifted]


def distinct(values: Int) -> NDArray[np.int64]:
    """The sorted distinct values."""
    return factorized(values)[0]


def looked_up(values: Int, table: Int) -> NDArray[np.int32]:
    """The position of each value in a sorted table of distinct values; -1 where it is not in there."""
    unique, inverse = factorized(values)
    if not len(table) or not len(unique):
        return np.full(len(values), -1, np.int32)
    found = np.minimum(np.searchsorted(table, unique), len(table) - 1)
    return np.where(table[found] == unique, found, -1).astype(np.int32)[inverse]


def ranks(names: Sequence[str]) -> NDArray[np.int32]:
    """The place of each name in their order."""
    found = np.empty(len(names), np.int32)
    found[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    return found
