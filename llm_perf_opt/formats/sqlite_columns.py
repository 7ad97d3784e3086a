"""Columns of SQLite tables as arrays of whole numbers, read in chunks.

SQLite does not check types: a column that is declared INTEGER may hold text, fractions and blobs. Values that are no
whole number are never converted; they are counted by table and column. Tables without any such value, which is what
nsys writes, are read from the pages of the file; the others, and those with a condition, by SQLite.
"""

from __future__ import annotations

import contextlib
import gc
import re
import sqlite3
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.formats.sqlite_pages import Stored, UnlikeError, rows_in_pages
from llm_perf_opt.opening import open_file

CHUNK_ROWS = 4_096
SMALL = 2**31 - 1

Int = NDArray[Any]
"""Whole numbers."""
_FRACTIONS = re.compile("REAL|FLOA|DOUB", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Column:
    """A column to read.

    Args:
        name: as the table calls it; where it has none, every row has `default`.
        default: in place of NULL.
        needed: rows without a whole number here are left out; elsewhere they get `default`.
        small: fits into 32 bits.
        presence: 1 where it is not NULL, whatever it holds; else 0.
    """

    name: str
    default: int = -1
    needed: bool = False
    small: bool = False
    presence: bool = False

    def cell(self) -> str:
        name = quoted(self.name)
        return f"{name} IS NOT NULL" if self.presence else f"ifnull({name}, {self.default})"


@dataclass
class TableReader:
    """Reads tables of one database that nobody writes, and keeps count of what was wrong."""

    path: Path
    connection: sqlite3.Connection
    malformed: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(table, column) → values that are no whole number."""

    def __post_init__(self) -> None:
        rows = self.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        self.tables = frozenset(name for (name,) in rows)
        self._columns: dict[str, frozenset[str]] = {}

    def columns_of(self, table: str) -> frozenset[str]:
        """Its columns; none where there is no such table."""
        if table not in self._columns:
            rows = self.connection.execute(f"PRAGMA table_info({quoted(table)})") if table in self.tables else ()
            self._columns[table] = frozenset(row[1] for row in rows)
        return self._columns[table]

    def missing(self, table: str, columns: Sequence[Column]) -> list[str]:
        """Columns that are needed and not there."""
        return [column.name for column in columns if column.needed and column.name not in self.columns_of(table)]

    def read(self, table: str, columns: Sequence[Column], where: str = "") -> list[Int]:
        """These columns of all rows, or of those `where`, in their order; no rows where there is no such table."""
        there = self.columns_of(table)
        stored = [column for column in columns if column.name in there]
        if not stored:
            return [np.empty(0, np.int64) for _ in columns]
        try:
            rows, found = _gathered(self._from_pages(table, stored, where), stored)
        except UnlikeError:
            rows, found = _gathered(self._from_sqlite(table, stored, where), stored)
        return [found[column] if column in found else np.full(rows, column.default, np.int64) for column in columns]

    def _from_pages(self, table: str, columns: Sequence[Column], where: str) -> Iterator[Sequence[Int]]:
        """Raise UnlikeError where the schema or the rows need SQLite."""
        wanted = [self._place(table, column) for column in columns]
        query = "SELECT rootpage FROM sqlite_master WHERE type = 'table' AND name = ?"
        root = self.connection.execute(query, (table,)).fetchone()
        if where or not root or not root[0]:  # a virtual table has no page
            raise UnlikeError
        with open_file(self.path) as file:
            yield from rows_in_pages(file, root[0], wanted)

    def _place(self, table: str, column: Column) -> Stored:
        for place, name, declared, _, _, key, hidden in self.connection.execute(f"PRAGMA table_xinfo({quoted(table)})"):
            # Values of an INTEGER PRIMARY KEY and of a generated column stand elsewhere; REAL makes fractions of them.
            if hidden or (name == column.name and (key or _FRACTIONS.search(declared))):
                raise UnlikeError
            if name == column.name:
                return Stored(place, column.default, column.presence)
        raise UnlikeError

    def _from_sqlite(self, table: str, columns: Sequence[Column], where: str) -> Iterator[Sequence[Int]]:
        query = f"SELECT {', '.join(column.cell() for column in columns)} FROM {quoted(table)}"
        query += f" WHERE {where}" if where else ""
        with _uncollected():
            for chunk in _chunks(self.connection.execute(query)):
                yield list(self._checked(chunk, table, columns).T)

    def _checked(self, rows: list[tuple[Any, ...]], table: str, columns: Sequence[Column]) -> Int:
        try:
            # `struct` takes whole numbers only, and is faster than numpy with a mixture.
            packed = struct.pack(f"{len(rows) * len(columns)}q", *chain.from_iterable(rows))
        except struct.error:
            kept = [cleaned for row in rows if (cleaned := self._clean(row, table, columns)) is not None]
            return np.array(kept, np.int64).reshape(-1, len(columns))
        return np.frombuffer(packed, np.int64).reshape(-1, len(columns))

    def _clean(self, row: tuple[Any, ...], table: str, columns: Sequence[Column]) -> list[int] | None:
        whole = True
        cells = []
        for value, column in zip(row, columns, strict=True):
            if isinstance(value, int):
                cells.append(value)
                continue
            self.malformed[table, column.name] += 1
            whole = whole and not column.needed
            cells.append(column.default)
        return cells if whole else None


def _gathered(chunks: Iterator[Sequence[Int]], columns: Sequence[Column]) -> tuple[int, dict[Column, Int]]:
    """How many rows there are, and each column."""
    growing = {column: _Growing(column) for column in columns}
    rows = 0
    for chunk in chunks:
        for column, values in zip(columns, chunk, strict=True):
            growing[column].add(values)
        rows += len(chunk[0])
    return rows, {column: values.whole() for column, values in growing.items()}


class _Growing:
    """A column that is not known to be how long. Its memory is one piece, which the system makes longer where it is:
    many small pieces would leave holes that nothing else fits in."""

    def __init__(self, column: Column) -> None:
        self._values: Int = np.empty(CHUNK_ROWS, np.int32 if column.small else np.int64)
        self._rows = 0

    def add(self, values: Int) -> None:
        rows = self._rows + len(values)
        if self._values.dtype == np.int32 and len(values) and not _small(values):
            self._values = self._values.astype(np.int64)
        if rows > len(self._values):
            self._values.resize(max(rows, len(self._values) * 5 // 4), refcheck=False)
        self._values[self._rows : rows] = values
        self._rows = rows

    def whole(self) -> Int:
        self._values.resize(self._rows, refcheck=False)
        return self._values


def _chunks(cursor: sqlite3.Cursor) -> Iterator[list[tuple[Any, ...]]]:
    while rows := cursor.fetchmany(CHUNK_ROWS):
        yield rows


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Millions of small tuples are made and dropped: the cycle collector would look at them again and again."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _small(values: Int) -> bool:
    return abs(int(values.min())) <= SMALL and abs(int(values.max())) <= SMALL


def quoted(name: str) -> str:
    """A name of a table or column as SQL spells it."""
    return '"' + name.replace('"', '""') + '"'
