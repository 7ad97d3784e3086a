"""Overrides of the command line: `dotted.path=value` and `group@mount=option`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from llm_perf_opt.config.compose import Entry, parse_entry
from llm_perf_opt.config.presets import Presets
from llm_perf_opt.config.problems import Problem
from llm_perf_opt.config.reader import parse
from llm_perf_opt.config.tree import Node, Source, mount

_EXAMPLE = "write key=value, for example pipeline.nsys.enable=true, or a preset: profiling/ncu@pipeline.ncu=ncu.high"


class Overrides(NamedTuple):
    """What the command line asks for: presets to choose, and one layer per value."""

    entries: tuple[Entry, ...]
    layers: tuple[Node, ...]


def read_overrides(
    overrides: Sequence[str], presets: Presets, problems: list[Problem], first_rank: int = 0
) -> Overrides:
    """Parse all overrides; those that cannot be read go to `problems`."""
    entries: list[Entry] = []
    layers: list[Node] = []
    for number, text in enumerate(overrides):
        read = read_override(text, Source("override", text, None, first_rank + number), presets)
        if isinstance(read, Problem):
            problems.append(read)
        elif isinstance(read, Entry):
            entries.append(read)
        else:
            layers.append(read)
    return Overrides(tuple(entries), tuple(layers))


def read_override(text: str, source: Source, presets: Presets) -> Entry | Node | Problem:
    """One override: the preset it chooses, or a tree that holds its value, or what is wrong with it."""
    left, equals, right = text.partition("=")
    left = left.strip()
    if left[:1] in ("+", "~"):
        from llm_perf_opt.config.remedies import for_prefixed

        sign = left[: len(left) - len(left.lstrip("+~"))]
        remedy = for_prefixed(sign, left.lstrip("+~").strip(), right)
        return Problem(f"{sign} is not used here: every key already exists", source, remedy=remedy)
    if not equals or not left:
        return Problem("not an override", source, remedy=_EXAMPLE)
    if _is_group(left, right, presets):
        return parse_entry(left, right.strip(), Node(right.strip(), source))
    parts = left.split(".")
    if not all(parts):
        return Problem("a dotted path has no empty parts", source, path=left, remedy=_EXAMPLE)
    value = read_value(right, source, left)
    return value if isinstance(value, Problem) else mount(value, parts)


def read_value(text: str, source: Source, path: str) -> Node | Problem:
    """A value written as YAML on one line (nothing is null), or the first thing wrong with it."""
    problems: list[Problem] = []
    node = parse(text, source, problems)
    if problems:
        return problems[0]._replace(path=path, line=0, column=0)
    return node or Node(None, source)


def _is_group(left: str, right: str, presets: Presets) -> bool:
    """`a/b=x` and `a@b=x` choose a preset; so does `dataset=x`, as a section cannot be one word."""
    if "/" in left or "@" in left:
        return True
    return "." not in left and right.strip()[:1] not in ("", "{", "[") and bool(presets.options(left))
