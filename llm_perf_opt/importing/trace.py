"""A trace of torch.profiler."""

from __future__ import annotations

from pathlib import Path

from llm_perf_opt.artifacts.layout import TRACE
from llm_perf_opt.captures.trace import write_profile
from llm_perf_opt.formats.torch_trace import read_trace
from llm_perf_opt.importing.item import Item, outcome_of
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.stages.base import Progress


def import_trace(items: list[Item], folder: Path, scratch: Path, progress: Progress) -> Outcome:
    (item,) = items
    notes: list[str] = []

    def read() -> None:
        notes.extend(write_profile(read_trace(item.source), folder).notes)

    if item.copy(folder / TRACE, progress, pack=True):
        progress.update(f"reading {item.source.name}", 0, 1, 0)
        item.attempt(read)
    return outcome_of(items, Outcome(status="completed", reason=" ".join(notes) or None))
