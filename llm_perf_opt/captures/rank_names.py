"""The ranks of files by what they are called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

LARGEST_RANK = 1 << 16
"""A larger number in a name is a process id or a time."""
_NAMED_RANK = re.compile(r"(?:^|[^a-z])rank[-_. ]?(\d+)", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")


def ranks_in_names(paths: Sequence[str]) -> list[int] | None:
    """The rank of each file by its name: the number after `rank`, else the one number in which the names differ; None
    where there is none of the kind. Names that are all the same are looked at with their folders.
    """
    names = [PurePath(path).name for path in paths]
    for texts in (names, list(paths)) if len(set(names)) == 1 else (names,):
        found = [_NAMED_RANK.findall(text) for text in texts]
        if all(found):
            return [int(numbers[-1]) for numbers in found]
        differing = _differing_numbers(texts)
        if differing is not None:
            return differing
    return None


def _differing_numbers(texts: Sequence[str]) -> list[int] | None:
    if len({_NUMBER.sub("0", text) for text in texts}) > 1:
        return None
    columns = [column for column in zip(*map(_NUMBER.findall, texts), strict=True) if len(set(column)) > 1]
    if len(columns) != 1:
        return None
    numbers = [int(text) for text in columns[0]]
    return numbers if max(numbers) < LARGEST_RANK else None
