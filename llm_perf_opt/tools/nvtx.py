"""NVTX range expressions: what people write, and what nsys and ncu understand.

ncu (https://docs.nvidia.com/nsight-compute/NsightComputeCli/index.html#nvtx-filtering) tells a push/pop range from a
start/end range by the quantifiers around its name: `A/` is a push/pop range `A` anywhere on the stack, `A/B` is `B`
directly above `A`, `A/*/B` with anything between, `[A` at the bottom, `A]` at the top, `domain@` selects a domain other
than the default one, `regex:` before all of it makes domain and names regular expressions, and `\\` before a mark makes
it a character of the name. A bare `A` is a start/end range, of which llmperf pushes none, and `*` within a name is that
character.

nsys (`--nvtx-capture`) takes the other order, `range@domain`; `range` is of the default domain, `range@*` of any.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["name", "glob", "as-written"]


@dataclass(frozen=True, slots=True)
class TranslatedFilter:
    """One `--nvtx-include`.

    Attributes:
        written: the expression in the configuration.
        sent: the expression ncu gets.
        kind: `name` (a literal name, made a push/pop range), `glob` (made a regular expression), `as-written`.
        note: what a reader should know about it, or None.
    """

    written: str
    sent: str
    kind: Kind
    note: str | None = None


@dataclass(frozen=True, slots=True)
class CaptureTrigger:
    """What `--nvtx-capture` waits for; `domain` None is the default domain, `*` any."""

    range: str
    domain: str | None


def parse_capture(expression: str) -> CaptureTrigger:
    """What an nsys `--nvtx-capture` expression waits for (`range`, `range@domain`, `range@*`)."""
    name, at, domain = expression.rpartition("@")
    return CaptureTrigger(name, domain) if at else CaptureTrigger(expression, None)


def translate_nvtx_include(include: str | Sequence[str] | None) -> list[TranslatedFilter]:
    """The ncu filters for `ncu_cli.nvtx.include`: an expression, several with `;` between, or a list.

    `decode` → `decode/`; `decode*` → `regex:decode.*/`; `A::A1` → `A::A1/`; a domain in front stays there
    (`mine@decode` → `mine@decode/`). Anything with `/`, `[`, `]` or `regex:` in it is ncu's own grammar and passes.
    """
    if include is None:
        return []
    expressions = include.split(";") if isinstance(include, str) else list(include)
    return [_translate(expression.strip()) for expression in expressions if expression.strip()]


def _translate(written: str) -> TranslatedFilter:
    if "regex:" in written or any(mark in written for mark in "/[]"):
        return TranslatedFilter(written, written, "as-written", _bracket_note(written))
    domain, at, name = written.rpartition("@")
    if "*" in name or "?" in name:
        return TranslatedFilter(written, f"regex:{re.escape(domain)}{at}{_glob_as_regex(name)}/", "glob")
    return TranslatedFilter(written, f"{domain}{at}{name}/", "name")


def _glob_as_regex(glob: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(character) or re.escape(character) for character in glob)


def _bracket_note(written: str) -> str | None:
    found = re.fullmatch(r"(sample|step)\[(\d+)\]", written)
    if found is None:
        return None
    return (
        f"ncu reads [ and ] as ends of the stack, so {written} names no range of llmperf; write "
        rf"{found[1]}\[{found[2]}\]/ for that one"
    )


def folder_names(labels: Sequence[str]) -> dict[str, str]:
    """A folder name for each label (`A::A1` → `A__A1`), each its own, also where the file system ignores case."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for label in dict.fromkeys(labels):
        base = re.sub(r"[^A-Za-z0-9._-]", "_", label).strip("._")[:80] or "region"
        name, number = base, 1
        while name.lower() in taken:
            number += 1
            name = f"{base}-{number}"
        taken.add(name.lower())
        names[label] = name
    return names
