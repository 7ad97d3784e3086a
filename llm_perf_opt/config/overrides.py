"""Overrides of the command line: `dotted.path=value` and `group@mount=option`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llm_perf_opt.config.compose import Entry, parse_entry
from llm_perf_opt.config.presets import Presets
from llm_perf_opt.config.problems import InvalidConfig, Problem
from llm_perf_opt.config.reader import parse
from llm_perf_opt.config.tree import Node, Source, mount

_EXAMPLE = "write key=value, for example pipeline.nsys.enable=true, or a preset: profiling/ncu@pipeline.ncu=ncu.high"


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line asks for: presets to choose, and one layer per value."""

    entries: tuple[Entry, ...]
    layers: tuple[Node, ...]


def read_overrides(overrides: Sequence[str], presets: Presets, first_rank: int) -> Overrides:
    """Parse all overrides.

    Raises:
        InvalidConfig: with every override that cannot be read.
    """
    entries: list[Entry] = []
    layers: list[Node] = []
    problems: list[Problem] = []
    for number, text in enumerate(overrides):
        source = Source("override", text, None, first_rank + number)
        try:
            read = read_override(text, source, presets)
        except InvalidConfig as error:
            problems += error.problems
            continue
        if isinstance(read, Entry):
            entries.append(read)
        else:
            layers.append(read)
    if problems:
        raise InvalidConfig(problems)
    return Overrides(tuple(entries), tuple(layers))


def read_override(text: str, source: Source, presets: Presets) -> Entry | Node:
    """One override: the preset it chooses, or a tree that holds its value."""
    left, equals, right = text.partition("=")
    left = left.strip()
    if not equals or not left:
        raise InvalidConfig([Problem("not an override", source, remedy=_EXAMPLE)])
    if left[0] in "+~":
        plain = left.lstrip("+~")
        remedy = f"write {plain}={right}; a value is taken away with {plain}=null"
        raise InvalidConfig([Problem(f"{left[0]} is not used here: every key already exists", source, remedy=remedy)])
    if _is_group(left, right, presets):
        entry = parse_entry(left, right.strip(), Node(right.strip(), source))
        if isinstance(entry, Problem):
            raise InvalidConfig([entry])
        return entry
    value = read_value(right, source, left)
    parts = left.split(".")
    if not all(parts):
        raise InvalidConfig([Problem("a dotted path has no empty parts", source, path=left, remedy=_EXAMPLE)])
    return mount(value, parts)


def read_value(text: str, source: Source, path: str) -> Node:
    """A value written as YAML on one line; nothing is null."""
    try:
        return parse(text, source)
    except InvalidConfig as error:
        raise InvalidConfig([replace(problem, path=path, line=0, column=0) for problem in error.problems]) from None


def _is_group(left: str, right: str, presets: Presets) -> bool:
    """`a/b=x` and `a@b=x` choose a preset; so does `dataset=x`, as a section cannot be one word."""
    if "/" in left or "@" in left:
        return True
    return "." not in left and right.strip()[:1] not in ("", "{", "[") and bool(presets.options(left))
