"""What an importer is: a kind of file captured elsewhere, how it is told by its content, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.registry import stage_leaving

if TYPE_CHECKING:
    from llm_perf_opt.importing.item import Item
    from llm_perf_opt.stages.base import Progress


@dataclass(frozen=True)
class ImportContext:
    """What an importer is given."""

    items: list[Item]
    """Its files; at least one."""
    folder: Path
    """The stage's directory: copies and records go there."""
    scratch_dir: Path
    """Logs of tools."""
    progress: Progress


def any_number(_: Sequence[Item]) -> Sequence[Item]:
    """Files of this kind go into one run, however many they are."""
    return ()


@dataclass(frozen=True)
class Importer:
    """One kind of capture, whose files are read like what a stage of llmperf leaves."""

    kinds: Mapping[str, str]
    """Kind of file → what it is, in words."""
    recognise: Callable[[Path, bytes], str | None]
    """(file, its unpacked start) → which of the kinds it is; None where it is none."""
    read: Callable[[ImportContext], Outcome]
    """Copy and read the files; one that cannot be read keeps its problem (`Item.attempt`)."""
    record: type[Any]
    """What it leaves: the files are those of the stage that leaves the same."""
    conflicting: Callable[[Sequence[Item]], Sequence[Item]] = any_number
    """Of its files, those that do not go into one run; none or several."""

    @property
    def stage(self) -> str:
        """The stage in whose directory the files go."""
        return stage_leaving(self.record)
