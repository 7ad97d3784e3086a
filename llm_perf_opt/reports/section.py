"""What a section of a run's report is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm_perf_opt.reports.document import Document, Section
    from llm_perf_opt.reports.facts import RunFacts


def no_pages(_: RunFacts) -> Iterable[tuple[PurePosixPath, Document]]:
    """A section that has no pages of its own."""
    return ()


@dataclass(frozen=True)
class ReportSection:
    """A section asks a run for the records it draws; a third party's is registered under the name of its stage."""

    order: int
    """Its place among the others."""
    build: Callable[[RunFacts], Section | None]
    """None where the run holds nothing for it."""
    pages: Callable[[RunFacts], Iterable[tuple[PurePosixPath, Document]]] = no_pages
    """Markdown pages beside the report: (file below the run directory, what it says)."""
