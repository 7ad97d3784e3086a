"""Whole numbers of an SQLite table from the pages of its file, many rows at a time.

Through SQLite every number becomes an object of Python, which costs more than everything else that is done with it.
Where the pages hold anything but plain rows of whole numbers, `UnlikeError` is raised, and SQLite reads the table.

The layout is that of https://www.sqlite.org/fileformat2.html: a table is a tree of pages; a leaf has cells (bytes of
the record, rowid, record); a record has a header (its length, then one type a column) and the values in their order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

Int: TypeAlias = NDArray[Any]
BLOCK_BYTES = 1 << 20
"""What is made of so much at once stays in the caches."""
DEEPEST = 20
_LEAF, _INTERIOR = 0x0D, 0x05
_NULL, _ZERO, _ONE = 0, 8, 9
# The bytes of a value by its type: whole numbers, a fraction, 0 and 1 that need none, two that are not used, texts.
_BYTES = np.array([0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0, *((kind - 12) // 2 for kind in range(12, 128))], np.int64)
_NO_NUMBERS = (7, 10, 11)


class UnlikeError(Exception):
    """There is something in these pages that only SQLite reads."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A column that is wanted: its place in the table, and what stands for NULL; or only whether it is not NULL."""

    place: int
    default: int = 0
    presence: bool = False


@dataclass
class _Block:
    """Some leaves one after the other, and views of them that begin at any byte."""

    raw: bytes
    page_bytes: int
    usable_bytes: int

    def __post_init__(self) -> None:
        size = len(self.raw)
        self.bytes = np.frombuffer(self.raw, np.uint8)
        self.pairs: Int = np.ndarray((size - 1,), ">u2", self.raw, 0, (1,))
        self.eights: Int = np.ndarray((size - 7,), ">i8", self.raw, 0, (1,))

    def cells(self) -> tuple[Int, Int]:
        """Where each cell begins, and where its page ends."""
        pages = self.bytes.reshape(-1, self.page_bytes)
        _check(bool((pages[:, 0] == _LEAF).all()))
        count = pages[:, 3].astype(np.int64) << 8 | pages[:, 4]
        first = np.arange(len(pages)) * self.page_bytes
        _check(int(count.max()) * 2 + 8 <= self.usable_bytes)
        before = np.cumsum(count) - count
        pointers = np.repeat(first + 8 - 2 * before, count) + 2 * np.arange(int(count.sum()))
        within = self.pairs[pointers].astype(np.int64)
        _check(not len(within) or (int(within.min()) >= 8 and int(within.max()) < self.usable_bytes))
        page = np.repeat(first, count)
        return page + within, page + self.usable_bytes

    def varint(self, at: Int) -> tuple[Int, Int]:
        """The numbers that begin there, seven bits a byte, and where they end."""
        first = self.bytes[at]
        value, at = (first & 0x7F).astype(np.int64), at + 1
        more = np.flatnonzero(first >= 0x80)
        for _ in range(7):
            if not len(more):
                break
            byte = self.bytes[at[more]]
            at[more] += 1
            value[more] = value[more] << 7 | byte & 0x7F
            more = more[byte >= 0x80]
        # Nine bytes are a number below 0, or larger than any file.
        _check(not len(more))
        return value, at

    def records(self) -> tuple[Int, Int]:
        """Where each record begins, and where what of it is in the page ends."""
        cell, page_end = self.cells()
        whole, at = self.varint(cell)
        _, at = self.varint(at)
        most = self.usable_bytes - 35
        if len(whole) and int(whole.max()) > most:
            least = (self.usable_bytes - 12) * 32 // 255 - 23
            kept = least + (whole - least) % (self.usable_bytes - 4)
            whole = np.where(whole <= most, whole, np.where(kept <= most, kept, least))
        end = at + whole
        _check(bool((end <= page_end).all()))
        return at, end

    def columns(self, wanted: Sequence[Stored]) -> list[Int]:
        """The columns that are wanted, of all rows in their order."""
        record, end = self.records()
        header_bytes, at = self.varint(record)
        body, header_end = record + header_bytes, record + header_bytes
        places = {stored.place: stored for stored in wanted}
        found: dict[int, Int] = {}
        passed = 0  # bytes that are the same in each row since `body`
        for place in range(max(places) + 1):
            kind = self.bytes[at]
            at += 1
            low, high = (int(kind.min()), int(kind.max())) if len(kind) else (0, 0)
            if high >= 0x80:
                kind, at = self.varint(at - 1)
                size: Int | int = np.where(kind < 12, _BYTES[np.minimum(kind, 12)], (kind - 12) // 2)
            else:
                size = int(_BYTES[low]) if low == high else _BYTES[kind]
            if (stored := places.get(place)) is not None:
                if stored.presence:
                    found[place] = (kind != _NULL).astype(np.int8)
                else:
                    _check(high <= _ONE and not any((kind == other).any() for other in _NO_NUMBERS))
                    value_end = body + (passed + size)
                    _check(bool((value_end <= end).all()))
                    found[place] = self._numbers(value_end, kind, size, stored.default)
            if isinstance(size, int):
                passed += size
            else:
                body += size
        # A record with fewer columns is older than the column, whose default stands in the schema.
        _check(bool(((at <= header_end) & (header_end <= end)).all()))
        return [found[stored.place] for stored in wanted]

    def _numbers(self, value_end: Int, kind: Int, size: Int | int, default: int) -> Int:
        if isinstance(size, int) and not size:
            constant = default if not len(kind) or kind[0] == _NULL else int(kind[0]) - _ZERO
            return np.full(len(kind), constant, np.int64)
        values: Int = self.eights[value_end - 8].astype(np.int64)
        # The bytes before it are shifted out, and its sign comes down.
        unused = 64 - 8 * size
        if isinstance(unused, int):
            values <<= unused
            values >>= unused
            return values
        empty = unused == 64
        unused[empty] = 0
        values <<= unused
        values >>= unused
        if empty.any():
            values[empty] = np.where(kind[empty] == _NULL, default, kind[empty] == _ONE)
        return values


def rows_in_pages(file: BinaryIO, root: int, wanted: Sequence[Stored]) -> Iterator[list[Int]]:
    """The columns of a table that are wanted, some thousand rows at a time, in the order of the table.

    Args:
        file: an SQLite file that nobody writes.
        root: the page that its schema names.

    Raises:
        UnlikeError: only SQLite can read them.
    """
    head = file.read(100)
    _check(len(head) == 100)
    page_bytes = int.from_bytes(head[16:18], "big")
    page_bytes = 1 << 16 if page_bytes == 1 else page_bytes
    _check(page_bytes >= 512 and not page_bytes & (page_bytes - 1))
    usable = page_bytes - head[20]
    _check(usable >= 480)
    try:
        level = np.array([root], np.int64)
        last = file.seek(0, 2) // page_bytes
        for _ in range(DEEPEST):
            _check(int(level.min()) >= 1 and int(level.max()) <= last and len(level) <= last)
            file.seek((int(level[0]) - 1) * page_bytes)
            if file.read(1)[0] == _LEAF:
                break
            level = _below(file, level, page_bytes, usable, last)
        for raw in _pages(file, level, page_bytes, BLOCK_BYTES // page_bytes):
            yield _Block(raw, page_bytes, usable).columns(wanted)
    except IndexError:  # a place outside the block
        raise UnlikeError from None


def _pages(file: BinaryIO, pages: Int, page_bytes: int, at_once: int) -> Iterator[bytes]:
    """These pages, `at_once` of them; those that follow one another in the file are read in one go."""
    for begin in range(0, len(pages), at_once):
        some = pages[begin : begin + at_once]
        cuts = np.flatnonzero(np.diff(some) != 1) + 1
        parts = []
        for run in np.split(some, cuts):
            file.seek((int(run[0]) - 1) * page_bytes)
            parts.append(file.read(len(run) * page_bytes))
        raw = b"".join(parts)
        _check(len(raw) == len(some) * page_bytes)
        yield raw


def _below(file: BinaryIO, level: Int, page_bytes: int, usable: int, most: int) -> Int:
    """The pages below all of these, of which there are no more than the file has."""
    found: list[Int] = []
    count = 0
    for page in _pages(file, level, page_bytes, 1):
        found.append(_children(page, page_bytes, usable))
        count += len(found[-1])
        _check(count <= most)
    return np.concatenate(found)


def _children(page: bytes, page_bytes: int, usable: int) -> Int:
    """The pages below an interior one, in the order of their rows."""
    _check(page[0] == _INTERIOR)
    count = int.from_bytes(page[3:5], "big")
    _check(12 + 2 * count <= usable)
    within = np.frombuffer(page, ">u2", count, 12).astype(np.int64)
    _check(not count or (int(within.min()) >= 12 and int(within.max()) + 4 <= usable))
    fours: Int = np.ndarray((page_bytes - 3,), ">u4", page, 0, (1,))
    return np.append(fours[within], fours[8]).astype(np.int64)


def _check(like: bool) -> None:
    if not like:
        raise UnlikeError
