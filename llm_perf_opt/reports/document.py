"""What a report is made of; a section builds blocks once and every renderer shows them.

All text is plain text: renderers escape it, so a section may put in what came from a model, a file or a driver.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

GALLERY_EXCERPTS, EXCERPT = 3, 400
"""Texts that are shown where there are no pictures, and the most characters of one."""


@dataclass(frozen=True)
class Paragraph:
    """Prose."""

    text: str


@dataclass(frozen=True)
class Lead:
    """The sentences that everything else is evidence for."""

    text: str


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    items: tuple[str, ...]
    evidence: tuple[str | None, ...] = ()
    """Of each sentence the title of the section that shows what it rests on; a page links to it where it has that."""


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
    folded: str = ""
    """What it is called where a page folds it away until it is asked for; empty: a page shows it."""


@dataclass(frozen=True)
class Verbatim:
    """Text shown as it is, line by line."""

    text: str


@dataclass(frozen=True)
class Command:
    """A command line to copy."""

    text: str


@dataclass(frozen=True)
class Gallery:
    """Pages with what was said of them."""

    shown: tuple[Shown, ...]

    def plain(self) -> tuple[Paragraph | Verbatim, ...]:
        """The texts alone, the beginning of each."""
        blocks: list[Paragraph | Verbatim] = []
        for shown in self.shown[:GALLERY_EXCERPTS]:
            blocks.append(Paragraph(f"{shown.title}, {shown.caption}" if shown.caption else shown.title))
            if shown.text is not None:
                short = shown.text if len(shown.text) <= EXCERPT else shown.text[:EXCERPT] + " …"
                blocks.append(Verbatim(short or "(nothing)"))
        return tuple(blocks)


@dataclass(frozen=True)
class Shown:
    """One page; without a picture, its text alone."""

    title: str
    picture: bytes | None
    """A JPEG, downscaled."""
    caption: str
    text: str | None


@dataclass(frozen=True, kw_only=True)
class Chart(ABC):
    """Data that the page of a report draws, for the reader to go into; Markdown and terminals show it as tables.

    Its kind is one file in `reports/charts` and the script of the same name in `reports/page`.
    """

    KIND: ClassVar[str]
    """Name of the script that draws it."""

    title: str
    """What it is called where it cannot be seen."""
    note: str = ""
    """Said below it: what it is of, what is left out."""

    @abstractmethod
    def plain(self) -> tuple[Paragraph | Items | Table, ...]:
        """The same for those who do not see it: on the page too, behind the drawing."""

    @abstractmethod
    def data(self) -> Any:
        """What the script is given, as JSON."""

    def pruned(self, share: float) -> Chart:
        """A chart of about that share of the data, which says so; itself where nothing can be left out."""
        return self


Block = Paragraph | Lead | Items | Table | Verbatim | Command | Gallery | Chart


@dataclass(frozen=True)
class Badge:
    """A short fact beside the title."""

    text: str
    good: bool | None = None
    """Whether something ended well; None for a plain fact."""

    def __str__(self) -> str:
        return self.text if self.good is None else f"{'✓' if self.good else '✗'} {self.text}"


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
    badges: tuple[Badge, ...] = ()
