"""Tables from the pages of the file, against what SQLite itself reads; and files that are damaged."""

from __future__ import annotations

import contextlib
import functools
import io
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_perf_opt.formats.sqlite_columns import Column, TableReader
from llm_perf_opt.formats.sqlite_pages import Stored, UnlikeError, rows_in_pages

COLUMNS = (Column("d", -7), Column("a", -1, small=True), Column("t", presence=True), Column("c", 5, needed=True))
WANTED = [Stored(4, -7), Stored(0, -1), Stored(1, presence=True), Stored(3, 5)]
numbers = st.none() | st.sampled_from([0, 1, -1]) | st.integers(0, 63).flatmap(lambda n: st.integers(-(2**n), 2**n - 1))
texts = st.none() | st.integers(0, 3_000).map(lambda length: "ö" * length) | st.binary(max_size=200)
row_lists = st.lists(st.tuples(numbers, texts, numbers, numbers, numbers, texts), max_size=60)


def made(rows: list[tuple[Any, ...]], page_bytes: int = 4096) -> sqlite3.Connection:
    """A table of mixed columns, whose pages do not follow one another."""
    database = sqlite3.connect(":memory:")
    database.execute(f"PRAGMA page_size = {page_bytes}")
    for table in ("x", "other"):
        database.execute(f"CREATE TABLE {table} (a INTEGER, t TEXT, b INTEGER, c, d BIGINT NOT NULL DEFAULT 0, e)")
    for row in rows:
        for table in ("x", "other", "x"):
            database.execute(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?)", (*row[:4], row[4] or 0, row[5]))
    database.execute("DELETE FROM x WHERE rowid % 5 = 3")
    database.commit()
    return database


def from_pages(raw: bytes, root: int = 2) -> list[list[int]]:
    chunks = list(rows_in_pages(io.BytesIO(raw), root, WANTED))
    return [np.concatenate(parts).tolist() for parts in zip(*chunks, strict=True)]


def from_sqlite(database: sqlite3.Connection) -> list[list[int]]:
    rows = database.execute("SELECT d, ifnull(a, -1), t IS NOT NULL, ifnull(c, 5) FROM x").fetchall()
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[], [], [], []]


@settings(max_examples=60)
@given(rows=row_lists, page_bytes=st.sampled_from([512, 1024, 4096, 65_536]))
def test_pages_hold_what_sqlite_says(rows: list[tuple[Any, ...]], page_bytes: int) -> None:
    with contextlib.closing(made(rows, page_bytes)) as database:
        try:
            found = from_pages(database.serialize())
        except UnlikeError:
            # What is wanted stands behind a text that is longer than a page.
            assert any(row[1] is not None and len(row[1]) > page_bytes // 8 for row in rows)
        else:
            assert found == from_sqlite(database)


def test_a_table_of_many_pages_and_blocks() -> None:
    with contextlib.closing(made([(n, None, -n * n, n << 20, 2**62 - n, None) for n in range(9_000)], 512)) as database:
        assert from_pages(database.serialize()) == from_sqlite(database)


@pytest.mark.parametrize("bad", [1.5, "abc", b"\x00", 1e300])
@pytest.mark.parametrize("cell", [0, 3])
def test_what_is_no_whole_number_is_left_to_sqlite_and_counted(tmp_path: Path, bad: object, cell: int) -> None:
    row: list[object] = [1, None, 2, 3, 4, None]
    other = [*row]
    other[cell] = bad
    path = tmp_path / "x.sqlite"
    with contextlib.closing(made([tuple(row), tuple(other)])) as database:
        path.write_bytes(database.serialize())
        with pytest.raises(UnlikeError):
            from_pages(path.read_bytes())
        reader = TableReader(path, database)
        found = [column.tolist() for column in reader.read("x", COLUMNS)]
        assert dict(reader.malformed) == {("x", COLUMNS[1 if cell == 0 else 3].name): 1}
    assert found[0] == ([4, 4, 4] if cell == 0 else [4, 4])


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        ("a INTEGER PRIMARY KEY", 7),  # stands in place of the rowid
        ("a REAL", 7),  # stored as a whole number, and read as a fraction
        ("z, a INTEGER PRIMARY KEY, PRIMARY_KEY", 7),
        ("a INTEGER PRIMARY KEY) WITHOUT ROWID, STRICT --", 7),
        ("g AS (a + 1) VIRTUAL, a INTEGER", 7),
        ("g AS (a + 1) STORED, a INTEGER", 7),
    ],
)
def test_columns_that_are_not_where_they_seem(tmp_path: Path, declared: str, value: int) -> None:
    path = tmp_path / "x.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(f"CREATE TABLE x ({declared})".split(" --")[0])
        database.execute("INSERT INTO x (a) VALUES (?)", (value,))
        database.commit()
        reader = TableReader(path, database)
        (found,) = reader.read("x", [Column("a")])
        if "REAL" in declared:
            assert reader.malformed["x", "a"] == 1
        else:
            assert found.tolist() == [value]


def test_rows_that_are_older_than_a_column_have_its_default(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE x (a INTEGER)")
        database.execute("INSERT INTO x VALUES (1)")
        database.execute("ALTER TABLE x ADD COLUMN b INTEGER DEFAULT 9")
        database.execute("INSERT INTO x VALUES (2, 3)")
        database.commit()
        found = TableReader(path, database).read("x", [Column("a"), Column("b"), Column("none", 4)])
    assert [column.tolist() for column in found] == [[1, 2], [9, 3], [4, 4]]


@settings(max_examples=300)
@given(data=st.data())
def test_a_damaged_file_is_left_to_sqlite_or_read(data: st.DataObject) -> None:
    raw = bytearray(sample())
    for _ in range(data.draw(st.integers(1, 6))):
        page = data.draw(st.integers(0, len(raw) // 512 - 1))
        # Most of what can go wrong stands at the begin of a page, and at its end where the first rows are.
        within = data.draw(st.integers(0, 40) | st.integers(460, 511) | st.integers(0, 511))
        raw[page * 512 + within] = data.draw(st.integers(0, 255) | st.sampled_from([0, 5, 13, 127, 128, 255]))
    cut = data.draw(st.sampled_from([len(raw), len(raw), len(raw) - 100, 600, 90]))
    with contextlib.suppress(UnlikeError):
        found = from_pages(bytes(raw[:cut]))
        assert len({len(column) for column in found}) == 1


@functools.cache
def sample() -> bytes:
    with contextlib.closing(made([(n, "text", None, n << 40, -n, b"ab") for n in range(300)], 512)) as database:
        return database.serialize()
