"""Values that remember where they were written.

Every layer of a configuration (a preset, the user's file, the environment, overrides, options) is a
tree of `Node`s. Merging trees keeps, for each value, the place it came from: error positions and
`config show --origins` are both read off the merged tree.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

Scalar: TypeAlias = "str | int | float | bool | None"
Plain: TypeAlias = "Scalar | list[Plain] | dict[str, Plain]"
_LINE_BREAK = "\r\n|[\n\r\x85\u2028\u2029]"
Kind: TypeAlias = Literal["default", "preset", "config", "environment", "override", "option"]


class Source(NamedTuple):
    """One layer: a file, an environment variable, an override or an option."""

    kind: Kind
    name: str
    """Path of the file as the user knows it, variable name, override text, or option name."""
    text: str | None = None
    """What was read, for snippets; None where there is no text to show."""
    rank: int = 0
    """Place among the layers; errors are listed in this order."""

    @property
    def is_file(self) -> bool:
        return self.kind in ("preset", "config")

    @property
    def lines(self) -> list[str]:
        """The text by lines, counted as YAML counts them."""
        return _split(self.text or "")


@functools.lru_cache(maxsize=8)
def _split(text: str) -> list[str]:
    return re.split(_LINE_BREAK, text)


class Node(NamedTuple):
    """A value and its place. Lines and columns count from 1; `key_*` is the place of its key."""

    value: Scalar | list[Node] | dict[str, Node]
    source: Source
    line: int = 1
    column: int = 1
    key_line: int = 0
    key_column: int = 0

    @property
    def place(self) -> tuple[int, int]:
        """Line and column to show for this node: its key's, where it has one."""
        return (self.key_line, self.key_column) if self.key_line else (self.line, self.column)

    def child(self, part: str | int) -> Node | None:
        found: Node | None = None
        if isinstance(self.value, dict) and isinstance(part, str):
            found = self.value.get(part)
        elif isinstance(self.value, list) and isinstance(part, int) and part < len(self.value):
            found = self.value[part]
        return found

    def plain(self) -> Plain:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def with_value(self, value: Scalar | list[Node] | dict[str, Node]) -> Node:
        return self._replace(value=value)


def find(node: Node, path: Sequence[str | int]) -> Node | None:
    """The node at `path`, or None."""
    current: Node | None = node
    for part in path:
        if current is None:
            return None
        current = current.child(part)
    return current


def leaves(node: Node, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Node]]:
    """Every scalar and empty collection under `node`, with its path."""
    if isinstance(node.value, dict) and node.value:
        for key, child in node.value.items():
            yield from leaves(child, (*path, key))
    elif isinstance(node.value, list) and node.value:
        for index, child in enumerate(node.value):
            yield from leaves(child, (*path, index))
    else:
        yield path, node


def merge(below: Node, above: Node) -> Node:
    """Lay `above` over `below`: maps merge, lists replace, null assigns. Neither is changed."""
    if not (isinstance(below.value, dict) and isinstance(above.value, dict)):
        return above
    merged = dict(below.value)
    for key, node in above.value.items():
        merged[key] = merge(merged[key], node) if key in merged else node
    return above.with_value(merged)


def mount(node: Node, path: Sequence[str]) -> Node:
    """`node` wrapped in one map per part of `path`, outermost first."""
    for part in reversed(path):
        node = Node({part: node}, node.source, node.line, node.column)
    return node


def from_plain(value: object, source: Source) -> Node:
    """A tree in which everything was written by `source` (at no particular place)."""
    if isinstance(value, Mapping):
        return Node({str(key): from_plain(item, source) for key, item in value.items()}, source)
    if isinstance(value, (list, tuple)):
        return Node([from_plain(item, source) for item in value], source)
    if isinstance(value, os.PathLike):
        return Node(os.fspath(value), source)
    if value is None or isinstance(value, (str, int, float, bool)):
        return Node(value, source)
    raise TypeError(f"not a configuration value: {value!r}")


def dotted(path: Sequence[str | int]) -> str:
    """`pipeline.nsys.extra_args[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
