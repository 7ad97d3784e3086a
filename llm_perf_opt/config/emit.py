"""YAML written for people: block style, short lists in one line, comments where they were."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from llm_perf_opt.config.tree import Node

_WIDTH = 110


@dataclass
class Item:
    """A value to write, with the comment lines above and below it and the comment at the end of its line."""

    value: Any
    """A plain value, or a dict of `Item`s."""
    above: list[str] = field(default_factory=list)
    beside: str = ""
    below: list[str] = field(default_factory=list)


def emit(items: Mapping[str, Item]) -> str:
    """The text of a mapping, its sections set off by empty lines."""
    return "\n".join(_mapping(items, 0)) + "\n" if items else "{}\n"


def _mapping(items: Mapping[str, Item], indent: int) -> Iterator[str]:
    pad = " " * indent
    section_before = False
    for number, (key, item) in enumerate(items.items()):
        is_section = isinstance(item.value, (dict, list)) and bool(item.value)
        if indent == 0 and number and (is_section or section_before):
            yield ""
        section_before = is_section
        for line in item.above:
            yield f"{pad}# {line}".rstrip() if line else ""
        beside = f"  # {item.beside}" if item.beside else ""
        name = flow(key)
        if isinstance(item.value, dict) and item.value:
            yield f"{pad}{name}:{beside}"
            yield from _mapping(item.value, indent + 2)
        elif isinstance(item.value, list) and item.value:
            yield from _list(name, item.value, indent, beside)
        else:
            yield f"{pad}{name}: {flow(item.value)}{beside}"
        for line in item.below:
            yield f"{pad}# {line}".rstrip()


def _list(name: str, values: list[Any], indent: int, beside: str) -> Iterator[str]:
    pad = " " * indent
    one_line = f"{pad}{name}: {flow(values)}"
    if len(one_line) + len(beside) <= _WIDTH and not any(isinstance(value, (dict, list)) for value in values):
        yield one_line + beside
        return
    yield f"{pad}{name}:{beside}"
    for value in values:
        if isinstance(value, dict) and len(value) == 1:
            ((key, below),) = value.items()
            yield f"{pad}  - {flow(key)}: {flow(below)}"
        else:
            yield f"{pad}  - {flow(value)}"


def items(values: Mapping[str, Any]) -> dict[str, Item]:
    """Plain values as items without comments."""
    return {key: Item(items(value) if isinstance(value, dict) and value else value) for key, value in values.items()}


def flow(value: Any) -> str:
    """A value in one line."""
    text: str = yaml.dump(
        value, Dumper=_OneLine, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**9
    )
    return text.removesuffix("\n").removesuffix("\n...").rstrip("\n")


class _OneLine(yaml.SafeDumper):
    """Text of several lines is quoted with escapes."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    several = any(char in text for char in "\n\r\x85\u2028\u2029")
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if several else None)


_OneLine.add_representer(str, _represent_text)


@dataclass
class Comments:
    """The comments of a text, by the line of the key they belong to."""

    above: dict[int, list[str]]
    beside: dict[int, str]
    below: dict[int, list[str]]
    head: list[str]
    """The block of comments the text begins with, up to the first empty line or key."""

    def item(self, node: Node, value: Any) -> Item:
        """`value` with the comments of `node`."""
        line = node.place[0]
        return Item(value, self.above.get(line, []), self.beside.get(line, ""), self.below.get(line, []))


def read_comments(text: str) -> Comments:
    """Comments by the line they belong to.

    A comment at the end of a line, or in the lines above it at its indentation, belongs to that line; one
    indented deeper than what follows belongs to the line before; one before an empty line heads the file.
    """
    comments = Comments({}, {}, {}, [])
    pending: list[tuple[int, str]] = []
    last = 0
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        indent = len(line) - len(line.lstrip())
        if stripped.startswith("#"):
            pending.append((indent, _plain(stripped)))
        elif stripped:
            before = [comment for depth, comment in pending if depth > indent and last]
            above = [comment for depth, comment in pending if depth <= indent or not last]
            if before:
                comments.below[last] = before
            if above:
                comments.above[number] = above
            pending = []
            match = _BESIDE.match(line)
            if match:
                comments.beside[number] = _plain(match["comment"])
            last = number
        elif not last and pending:
            comments.head += [comment for _, comment in pending]
            pending = []
    if pending and last:
        comments.below[last] = [comment for _, comment in pending]
    return comments


# Text outside quotes, then ` #`.
_BESIDE = re.compile(r"""(?:[^"'#]|"(?:[^"\\]|\\.)*"|'[^']*'|(?<=\S)#)*?\s(?P<comment>#.*)$""")


def _plain(comment: str) -> str:
    return comment.lstrip("#").strip()
