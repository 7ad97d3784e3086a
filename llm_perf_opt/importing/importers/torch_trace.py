"""A trace of torch.profiler."""

from __future__ import annotations

from pathlib import Path

from llm_perf_opt.artifacts.layout import TRACE
from llm_perf_opt.captures.trace_secrets import hide_secrets
from llm_perf_opt.formats.json_chunks import looks_like_trace
from llm_perf_opt.importing.importer import ImportContext, Importer
from llm_perf_opt.importing.item import outcome_of
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.records.workload import Profile


def read(context: ImportContext) -> Outcome:
    (item,) = context.items
    folder, progress = context.folder, context.progress
    notes: list[str] = []

    def extract() -> None:
        from llm_perf_opt.captures.trace import write_profile
        from llm_perf_opt.formats.torch_events import read_events

        events = read_events(item.source)
        notes.extend(write_profile(events, folder, item.source.name, context.rules, item.gpu).notes)

    def clean(copy: Path) -> None:
        hidden = hide_secrets(copy)
        if hidden:
            notes.append(f"{hidden} value(s) under names of secrets are hidden in the stored trace.")

    if item.copy(folder / TRACE, progress, pack=True, clean=clean):
        progress.update(f"reading {item.source.name}", 0, 1, 0)
        item.attempt(extract)
    return outcome_of(context.items, Outcome(status="completed", reason=" ".join(notes) or None))


TRACE_KIND = "torch_trace"
IMPORTER = Importer(
    kinds={TRACE_KIND: "torch.profiler trace (JSON, may be gzip)"},
    recognise=lambda _, start: TRACE_KIND if looks_like_trace(start) else None,
    read=read,
    record=Profile,
    conflicting=lambda items: items if len(items) > 1 else (),
)
