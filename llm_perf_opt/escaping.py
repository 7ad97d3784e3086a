"""Showing text that may be anything (model output, file names) inside Markdown without its being taken for Markdown."""

from __future__ import annotations

import re

# Always read as markup somewhere in a line; `_` only where it does not stand inside a word.
_SPECIAL = re.compile(r"[\\`*\[\]<>|&~]|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])")
# At the start of a line: headings, lists, rules and underlines of headings.
_START = re.compile(r"^(?:[#+-]+|=+|\d{1,9}[.)])(?=\s|$)")
# Control characters but tab and newline, and those that turn the direction of writing.
_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_FENCE = re.compile(r"`{3,}")


def visible(text: str) -> str:
    """`text` with control characters, which could hide or reorder what stands around them, replaced by U+FFFD."""
    return _INVISIBLE.sub("\ufffd", text.replace("\r\n", "\n"))


def as_inline(text: str) -> str:
    """`text` as Markdown inside a line, such as a cell of a table, that shows exactly it."""
    line = " ".join(visible(text).split())
    return _SPECIAL.sub(lambda match: "\\" + match.group(), line)


def as_line(text: str) -> str:
    """`text` as a line of Markdown of its own: nor is its beginning taken for a heading or a list."""
    return _START.sub(lambda match: f"{match.group()[:-1]}\\{match.group()[-1]}", as_inline(text))


def as_block(text: str) -> str:
    """`text` as a code block of Markdown, behind a fence longer than any run of backticks in it."""
    shown = visible(text).strip("\n")
    longest = max((len(run) for run in _FENCE.findall(shown)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}text\n{shown}\n{fence}"
