"""Documents on a terminal: fitted to its width, bold headings only where they are wanted.

Written by hand: rich has no way to move columns below a row, and importing it is a fifth of a short command's CPU time.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TextIO

from llm_perf_opt.escaping import visible
from llm_perf_opt.reports.document import (
    Block,
    Chart,
    Command,
    Document,
    Gallery,
    Items,
    Lead,
    Paragraph,
    Table,
    Verbatim,
)
from llm_perf_opt.reports.terminal_table import table_lines
from llm_perf_opt.reports.terminal_text import fold, wrap

UNFOLDED = 100_000
"""A width that folds nothing."""
_BOLD, _UNDERLINED, _OFF = "\033[1m", "\033[1;4m", "\033[0m"


def print_document(document: Document, file: TextIO, *, width: int | None = None, colours: bool = True) -> None:
    """Print `document` to `file`.

    Args:
        width: columns to fill; None takes those of the terminal.
    """
    columns = shutil.get_terminal_size().columns if width is None else width
    for style, line in _lines(document, columns):
        file.write(f"{style}{line}{_OFF}\n" if colours and style and line else f"{line}\n")


def _lines(document: Document, width: int) -> Iterator[tuple[str, str]]:
    """Every line with its style, which may be empty."""
    yield from ((_BOLD, line) for line in wrap(visible(document.title), width))
    if document.badges:
        yield from (("", line) for line in wrap(visible(" · ".join(map(str, document.badges))), width))
    for section in document.sections:
        yield "", ""
        yield from ((_UNDERLINED, line) for line in wrap(visible(section.title), width))
        for block in section.blocks:
            yield from _block(block, width)


def _block(block: Block, width: int) -> Iterator[tuple[str, str]]:
    if isinstance(block, Table):
        header, rows = table_lines(block, width)
        yield from ((_BOLD, line) for line in header)
        yield from (("", line) for line in rows)
    elif isinstance(block, Items):
        for item in block.items:
            first, *rest = wrap(visible(item), width - 2)
            yield "", f"- {first}"
            yield from (("", f"  {line}") for line in rest)
    elif isinstance(block, Chart):
        for part in (*block.plain(), *([Paragraph(block.note)] if block.note else [])):
            yield from _block(part, width)
    elif isinstance(block, Gallery):
        for shown in block.plain():
            yield from _block(shown, width)
    elif isinstance(block, Verbatim | Command):
        for line in visible(block.text).expandtabs().split("\n"):
            yield from (("", part) for part in fold(line, width))
    else:
        assert isinstance(block, Paragraph | Lead)
        yield from (("", line) for line in wrap(visible(block.text), width))
