"""Tables of many rows, which the page sorts, filters and saves as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from llm_perf_opt.reports.document import Chart, Paragraph, Table
from llm_perf_opt.reports.units import percent, signed, significant

SHOWN = 10
"""Rows where nothing can be sorted."""

TEXTS = ("text", "line", "prose", "choice")
Cell = str | float | int | None


@dataclass(frozen=True)
class Column:
    """One column."""

    name: str
    kind: Literal["text", "line", "prose", "choice", "number", "count", "share", "change", "hundredths"] = "text"
    """A text may lose its middle, a line its end, prose is shown whole, a choice is one of few texts, to filter by; a
    share is drawn as a bar too; a change has its sign; hundredths are as ncu prints percentages."""

    def words(self, cell: Cell) -> str:
        if cell is None:
            return "—"
        if isinstance(cell, str):
            return cell
        if self.kind == "share":
            return percent(cell)
        if self.kind == "change":
            return signed(cell)
        if self.kind == "hundredths":
            return f"{cell:.2f}"
        return f"{cell:,}" if self.kind == "count" else significant(cell)


@dataclass(frozen=True, kw_only=True)
class DataTable(Chart):
    """Rows in the order that they are shown in at first."""

    KIND: ClassVar[str] = "data_table"

    columns: tuple[Column, ...]
    rows: Sequence[tuple[Cell, ...]]
    sorted_by: int | None = None
    """The column whose falling order that is."""
    elsewhere: str = ""
    """Where all rows are."""
    left_out: int = 0
    """Rows that are not here."""
    shown: int = SHOWN
    """Rows where nothing can be sorted."""
    important: tuple[int, ...] = ()
    """As of a `Table`."""

    def plain(self) -> tuple[Table | Paragraph, ...]:
        cells = tuple(
            tuple(column.words(cell) for column, cell in zip(self.columns, row, strict=True))
            for row in self.rows[: self.shown]
        )
        numeric = frozenset(at for at, column in enumerate(self.columns) if column.kind not in TEXTS)
        names = frozenset(at for at, column in enumerate(self.columns) if column.kind == "text")
        heads = tuple(column.name for column in self.columns)
        table = Table(heads, cells, numeric=numeric, names=names, important=self.important)
        more = len(self.rows) + self.left_out - len(cells)
        if not more:
            return (table,)
        where = f": {self.elsewhere}" if self.elsewhere else ""
        return table, Paragraph(f"{more:,} more rows{where}.")

    def data(self) -> Any:
        """By column: texts as positions in a table of the distinct ones."""
        columns = []
        for at, column in enumerate(self.columns):
            cells = [row[at] for row in self.rows]
            found: dict[str, Any] = {"name": column.name, "kind": column.kind}
            if column.kind in TEXTS:
                names: dict[str, int] = {}
                found["cells"] = [names.setdefault(str(cell), len(names)) for cell in cells]
                found["names"] = list(names)
            else:
                found["cells"] = [_short(cell) for cell in cells]
            columns.append(found)
        words = ""
        if self.left_out:
            where = f"; all are in {self.elsewhere}" if self.elsewhere else ""
            words = f"The first {len(self.rows):,} of {len(self.rows) + self.left_out:,} rows{where}."
        return {"title": self.title, "columns": columns, "sorted_by": self.sorted_by, "left_out": words}

    def pruned(self, share: float) -> DataTable:
        kept = int(len(self.rows) * share)
        return replace(self, rows=self.rows[:kept], left_out=self.left_out + len(self.rows) - kept)


def _short(cell: Cell) -> Cell:
    return float(f"{cell:.5g}") if isinstance(cell, float) else cell
