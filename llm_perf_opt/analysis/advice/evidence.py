"""What rules look at: the records of a run, each with the place it is from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from llm_perf_opt.config.schema import Config
from llm_perf_opt.records.workload import Workload

T = TypeVar("T")


@dataclass(frozen=True)
class Piece(Generic[T]):
    """One record."""

    stage: str
    file: str
    """Below the run directory."""
    record: T


@dataclass(frozen=True)
class Evidence:
    """All records of a run, in the order of the stages."""

    pieces: tuple[Piece[Any], ...]
    config: Config | None = None
    """None for imported files: how they were captured is not known."""

    def each(self, kind: type[T]) -> Iterator[Piece[T]]:
        """Every record of a type."""
        return (piece for piece in self.pieces if isinstance(piece.record, kind))

    def of_stage(self, stage: str, kind: type[T]) -> Piece[T] | None:
        """The first record of a type that a stage left, or None."""
        return next((piece for piece in self.each(kind) if piece.stage == stage), None)

    def timed(self, stage: str | None = None) -> Piece[Workload] | None:
        """The timed repeats of a stage, else those to quote: of a child that did nothing else, where there is one."""
        found = sorted(
            (piece for piece in self.each(Workload) if piece.record.batches),
            key=lambda piece: (piece.stage != stage, not piece.record.timings_only),
        )
        return next(iter(found), None)
