"""Documents on a terminal: tables fitted to its width, colours only where they are wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from llm_perf_opt.escaping import visible
from llm_perf_opt.reports.document import Block, Document, Items, Paragraph, Picture, Table, Verbatim

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

UNFOLDED = 100_000
"""A width that folds nothing."""


def print_document(document: Document, file: TextIO, *, width: int | None = None, colours: bool = True) -> None:
    """Print `document` to `file`.

    Args:
        width: columns to fill; None takes those of the terminal.
    """
    from rich.console import Console
    from rich.text import Text

    terminal = None if colours else False  # no bold either
    console = Console(file=file, width=width, force_terminal=terminal, highlight=False, markup=False, emoji=False)
    console.print(Text(visible(document.title), style="bold"))
    for section in document.sections:
        console.print()
        console.print(Text(visible(section.title), style="bold underline"))
        for block in section.blocks:
            _print_block(console, block)


def _print_block(console: Console, block: Block) -> None:
    from rich.text import Text

    if isinstance(block, Table):
        console.print(_table(block))
    elif isinstance(block, Items):
        for item in block.items:
            console.print(_bullet(item))
    elif isinstance(block, Picture):
        console.print(Text(visible(f"{block.title}: {block.file}")))
    else:
        assert isinstance(block, Paragraph | Verbatim)
        console.print(Text(visible(block.text)))


def _bullet(text: str) -> RenderableType:
    """A line whose continuation is indented."""
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("-", Text(visible(text)))
    return grid


def _table(table: Table) -> RenderableType:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, name in enumerate(table.columns):
        numeric = index in table.numeric
        # Long words (kernel names, paths) are folded, never cut.
        shown.add_column(Text(visible(name)), justify="right" if numeric else "left", overflow="fold")
    for row in table.rows:
        shown.add_row(*(Text(visible(cell)) for cell in row))
    return shown
