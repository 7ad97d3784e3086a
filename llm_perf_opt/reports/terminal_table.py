"""Tables as lines of a given width.

A table that does not fit keeps its important columns side by side, as many as fit; the others follow each row on an
indented line of their own, as `column: value`. A number is never broken and never cut; a name is shortened in the
middle; prose is wrapped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from llm_perf_opt.escaping import visible
from llm_perf_opt.reports.document import Table
from llm_perf_opt.reports.terminal_text import cells, shorten, wrap

GAP = "  "
"""Between columns."""
INDENT = "    "
SEPARATOR = " · "
LEAST_TEXT, LEAST_NAME, LONGEST_WORD = 12, 28, 26
"""What a column of text or of names is squeezed to; words up to the longest are not folded."""


@dataclass(frozen=True, slots=True)
class _Column:
    header: str
    values: tuple[str, ...]
    numeric: bool
    name: bool

    @property
    def widest(self) -> int:
        """What shows every cell, and the header, on one line."""
        return max(map(cells, (self.header, *self.values)))

    def least(self, least_name: int) -> int:
        """What it can be squeezed to: a number's width, else a few words."""
        cell = max(map(cells, self.values), default=0)
        if self.name:
            cell = min(cell, least_name)
        elif not self.numeric:
            cell = min(cell, max(LEAST_TEXT, min(_longest_word(self.values), LONGEST_WORD)))
        return max(cell, min(_longest_word([self.header]), LEAST_TEXT), 1)

    def lines(self, text: str, width: int) -> list[str]:
        """A cell of this column in so many columns of the terminal."""
        if self.numeric:
            return [text]
        return [shorten(text, width)] if self.name else wrap(text, width)


def table_lines(table: Table, width: int) -> tuple[list[str], list[str]]:
    """Header and rows of `table`, no line wider than `width` (a number that is wider still excepted)."""
    columns = [
        _Column(
            _on_a_line(name),
            tuple(_on_a_line(row[index]) for row in table.rows),
            index in table.numeric,
            index in table.names,
        )
        for index, name in enumerate(table.columns)
    ]
    kept, stacked = _split(columns, table.important or range(len(columns)), width)
    widths = _widths(kept, width)
    header = list(_side_by_side(kept, [wrap(at.header, room) for at, room in zip(kept, widths, strict=True)], widths))
    lines: list[str] = []
    for row in range(len(table.rows)):
        lines += _side_by_side(
            kept, [at.lines(at.values[row], room) for at, room in zip(kept, widths, strict=True)], widths
        )
        lines += _below(stacked, row, width)
    return [*header, "─" * (sum(widths) + len(GAP) * (len(kept) - 1))], lines


def _longest_word(texts: Iterable[str]) -> int:
    return max((cells(word) for text in texts for word in text.split()), default=0)


def _on_a_line(text: str) -> str:
    return " ".join(visible(text).split())


def _split(columns: Sequence[_Column], order: Iterable[int], width: int) -> tuple[list[_Column], list[_Column]]:
    """Columns that stay side by side, and those that do not fit; both in the order of the table."""
    if sum(column.least(LEAST_NAME) + len(GAP) for column in columns) - len(GAP) <= width:
        return list(columns), []
    kept: set[int] = set()
    room = width + len(GAP)
    for index in order:
        # Other columns go below anyway: a name is shortened less.
        room -= columns[index].least(max(LEAST_NAME, width // 2)) + len(GAP)
        if room < 0 and kept:
            break
        kept.add(index)
    return (
        [column for index, column in enumerate(columns) if index in kept],
        [column for index, column in enumerate(columns) if index not in kept],
    )


def _widths(columns: Sequence[_Column], width: int) -> list[int]:
    """Least widths, and what is left over given to the columns from the one that lacks least."""
    widths = [column.least(min(LEAST_NAME, width)) for column in columns]
    left = width - sum(widths) - len(GAP) * (len(columns) - 1)
    lacking = sorted(range(len(columns)), key=lambda index: (columns[index].widest - widths[index], index))
    for index in lacking:
        grown = min(max(left, 0), columns[index].widest - widths[index])
        widths[index] += grown
        left -= grown
    return widths


def _side_by_side(columns: Sequence[_Column], texts: Sequence[Sequence[str]], widths: Sequence[int]) -> Iterator[str]:
    for at in range(max(map(len, texts))):
        parts = []
        for column, lines, width in zip(columns, texts, widths, strict=True):
            text = lines[at] if at < len(lines) else ""
            space = " " * (width - cells(text))
            parts.append(space + text if column.numeric else text + space)
        yield GAP.join(parts).rstrip()


def _below(columns: Sequence[_Column], row: int, width: int) -> list[str]:
    """What did not fit beside the rest of the row: `column: value`, as many on a line as fit."""
    room = width - len(INDENT)
    lines: list[str] = []
    for column in columns:
        value = column.values[row]
        if not value:
            continue
        label = f"{column.header}:"
        whole = f"{label} {value}"
        if lines and cells(lines[-1] + SEPARATOR + whole) <= room:
            lines[-1] += SEPARATOR + whole
        elif cells(whole) <= room:
            lines.append(whole)
        elif column.name and cells(label) + 1 + LEAST_NAME <= room:
            lines.append(f"{label} {shorten(value, room - cells(label) - 1)}")
        elif column.numeric or column.name:
            lines += [*wrap(label, room), *column.lines(value, room)]
        else:
            lines += wrap(whole, room)
    return [(INDENT + line).rstrip() for line in lines]
