"""What a report is made of; a section builds blocks once and every renderer shows them.

All text is plain text: renderers escape it, so a section may put in what came from a model, a file or a driver.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Paragraph:
    """Prose."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows of text."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    """Columns of numbers: aligned to the right, never broken."""
    names: frozenset[int] = frozenset()
    """Columns of names (kernels, modules, paths) that a narrow terminal shortens in the middle."""
    important: tuple[int, ...] = ()
    """Columns that stay side by side on a narrow terminal, the most important first; if empty, as they stand."""


@dataclass(frozen=True)
class Verbatim:
    """Text shown as it is, line by line."""

    text: str


@dataclass(frozen=True)
class Picture:
    """A drawing that was written beside the report; made here, its text already escaped."""

    title: str
    file: str
    """Relative to the report."""
    svg: str


Block = Paragraph | Items | Table | Verbatim | Picture


@dataclass(frozen=True)
class Section:
    """A titled part of a report."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    sections: tuple[Section, ...]
