"""The YAML files of a run as objects."""

from __future__ import annotations

from typing import Any

import yaml

MOST_DEEP = 64
_SAFE_DEEP = 1_000
"""The parser in C calls itself for each level, and ends the process where its stack does: some ten thousands."""
_PLAIN = (dict, list, str, int, float, type(None))
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def plain_yaml(content: bytes) -> Any:
    """What a YAML file of a run holds: mappings, lists and plain values.

    Raises:
        ValueError: it is nested deeper than `MOST_DEEP`, has aliases, with which a few lines stand for gigabytes, or
            holds other things than JSON does; llmperf writes none of these.
        yaml.YAMLError: it is no YAML.
    """
    if _may_be_deep(content):
        _check_depth(content)
    try:
        found = yaml.load(content, Loader=_LOADER)  # noqa: S506 (both are safe)
    except (AttributeError, KeyError, TypeError) as error:  # `!!timestamp x`
        raise ValueError("a value is not what its tag says") from error
    seen: set[int] = set()
    level = [found]
    for _ in range(MOST_DEEP + 1):
        inner = [value for value in level if isinstance(value, dict | list)]
        if any(not isinstance(value, _PLAIN) for value in level) or any(
            not isinstance(key, str) for value in inner if isinstance(value, dict) for key in value
        ):
            raise ValueError("it holds dates, bytes, sets or keys that are no texts")
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
