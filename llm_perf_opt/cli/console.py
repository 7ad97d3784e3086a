"""What a command says: messages and progress on stderr, and documents, which are results, on stdout."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from llm_perf_opt.reports.document import Document

Level = Literal["quiet", "normal", "verbose"]

_level: list[Level] = ["normal"]


def set_level(*, quiet: bool = False, verbose: bool = False) -> None:
    """How much is said; quiet wins."""
    _level[0] = "quiet" if quiet else "verbose" if verbose else "normal"


def is_quiet() -> bool:
    return _level[0] == "quiet"


def is_verbose() -> bool:
    return _level[0] == "verbose"


def is_plain(stream: TextIO | None = None) -> bool:
    """Whether colours and progress bars are out of place: no terminal, one that knows none, or NO_COLOR is set."""
    stream = sys.stderr if stream is None else stream
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb" or not stream.isatty()


def note(message: str) -> None:
    """One line about what happens; not printed with --quiet."""
    if not is_quiet():
        print(message, file=sys.stderr)


def detail(message: str) -> None:
    """One line for --verbose only."""
    if is_verbose():
        print(message, file=sys.stderr)


def error(message: str, remedy: str = "") -> None:
    """An error and what to do about it; always printed."""
    label = "error:" if is_plain() else "\033[1;31merror:\033[0m"
    print(f"{label} {message}", file=sys.stderr)
    if remedy:
        print(f"  remedy: {remedy}", file=sys.stderr)


def plain(message: str) -> None:
    """A message in words of its own, such as a whole help page; always printed."""
    print(message, file=sys.stderr)


def show(document: Document) -> None:
    """A result for people, on stdout: fitted to a terminal; elsewhere plain, with every row of a table on one line."""
    from llm_perf_opt.reports.terminal import UNFOLDED, print_document

    width = None if sys.stdout.isatty() else UNFOLDED
    print_document(document, sys.stdout, width=width, colours=not is_plain(sys.stdout))
