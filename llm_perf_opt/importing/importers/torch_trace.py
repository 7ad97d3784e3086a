"""A trace of torch.profiler; or two, where one is the capture of the CUDA graphs that the other replays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from llm_perf_opt.artifacts.layout import CAPTURE_TRACE, TRACE
from llm_perf_opt.captures.trace_pair import TracePair, read_pair
from llm_perf_opt.captures.trace_secrets import hide_secrets
from llm_perf_opt.errors import StageError
from llm_perf_opt.formats.json_chunks import looks_like_trace
from llm_perf_opt.importing.importer import ImportContext, Importer
from llm_perf_opt.importing.item import Item, outcome_of
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.records.workload import Profile


def read(context: ImportContext) -> Outcome:
    folder, progress = context.folder, context.progress
    notes: list[str] = []
    pair = _pair(context)
    item = next(item for item in context.items if pair is None or item.source == pair.replay)

    def extract() -> None:
        from llm_perf_opt.captures.trace import write_profile
        from llm_perf_opt.formats.torch_events import read_events

        events = read_events(item.source) if pair is None else pair.replayed
        capture = None if pair is None else pair.captured
        notes.extend(write_profile(events, folder, item.source.name, capture).notes)

    def clean(copy: Path) -> None:
        hidden = hide_secrets(copy)
        if hidden:
            notes.append(f"{hidden} value(s) under names of secrets are hidden in the stored trace.")

    for capture in (found for found in context.items if found is not item):
        capture.copy(folder / CAPTURE_TRACE, progress, pack=True, clean=clean)
    if item.copy(folder / TRACE, progress, pack=True, clean=clean):
        progress.update(f"reading {item.source.name}", 0, 1, 0)
        item.attempt(extract)
    return outcome_of(context.items, Outcome(status="completed", reason=" ".join(notes) or None))


def _pair(context: ImportContext) -> TracePair | None:
    if len(context.items) < 2:
        return None
    context.progress.update("telling the capture from the replay", 0, 1, 0)
    pair = read_pair([item.source for item in context.items])
    if pair is None:
        raise StageError("the traces are no capture and replay any more", "import each into a run of its own")
    return pair


def _conflicting(items: Sequence[Item]) -> Sequence[Item]:
    """All but one trace, and a capture with its replay."""
    return () if len(items) < 2 or read_pair([item.source for item in items]) is not None else items


TRACE_KIND = "torch_trace"
IMPORTER = Importer(
    kinds={TRACE_KIND: "torch.profiler trace (JSON, may be gzip)"},
    recognise=lambda _, start: TRACE_KIND if looks_like_trace(start) else None,
    read=read,
    record=Profile,
    conflicting=_conflicting,
)
