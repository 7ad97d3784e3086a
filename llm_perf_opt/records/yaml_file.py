"""The YAML files of a run as objects."""

from __future__ import annotations

from typing import Any

import yaml

MOST_DEEP = 64
_SAFE_DEEP = 1_000
"""The parser in C calls itself for each level, and ends the process where its stack does: some ten thousands."""
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def plain_yaml(content: bytes) -> Any:
    """What a YAML file of a run holds: mappings, lists and plain values.

    Raises:
        ValueError: it is nested deeper than `MOST_DEEP`, or has aliases, with which a few lines stand for gigabytes;
            llmperf writes neither.
        yaml.YAMLError: it is no YAML.
    """
    if _may_be_deep(content):
        _check_depth(content)
    found = yaml.load(content, Loader=_LOADER)  # noqa: S506 (both are safe)
    seen: set[int] = set()
    level = [found]
    for _ in range(MOST_DEEP + 1):
        inner = [value for value in level if isinstance(value, dict | list)]
        # An alias is the very object of its anchor.
        seen |= (ids := set(map(id, inner)) - seen)
        if len(ids) < len(inner):
            raise ValueError("it has aliases (& and *), which llmperf does not write")
        if not inner:
            return found
        level = [each for value in inner for each in (value.values() if isinstance(value, dict) else value)]
    raise ValueError(_TOO_DEEP)


_TOO_DEEP = f"it is nested more than {MOST_DEEP} deep"


def _may_be_deep(content: bytes) -> bool:
    """Each level takes a bracket, or a column."""
    return content.count(b"[") + content.count(b"{") + max(map(len, content.splitlines()), default=0) > _SAFE_DEEP


def _check_depth(content: bytes) -> None:
    depth = 0
    for event in yaml.parse(content, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEEP:
            raise ValueError(_TOO_DEEP)
