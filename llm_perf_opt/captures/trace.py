"""A trace of torch.profiler, or what the profiler holds in memory: into one kind of tables."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from llm_perf_opt.analysis.timeline.steps import PhaseRule
from llm_perf_opt.artifacts.files import write_text, writing
from llm_perf_opt.artifacts.layout import PROFILE, TABLES
from llm_perf_opt.captures.timeline import Captured, analyse, write_timeline
from llm_perf_opt.errors import StageError
from llm_perf_opt.records.columns import PYTHON, Events
from llm_perf_opt.records.tables import write_tables
from llm_perf_opt.records.workload import Profile


def write_profile(
    events: Events,
    folder: Path,
    source: str,
    rules: Sequence[PhaseRule] = (),
    gpu: str | None = None,
    *,
    capture: Events | None = None,
) -> Profile:
    """Write the tables, the time line and the facts of a trace into `folder`; `rules` and `gpu` are those of `analyse`.

    Args:
        capture: a recording of the capture of the CUDA graphs that it replays.

    Raises:
        StageError: there is nothing in it.
    """
    captured = analysed_trace(events, source, rules, gpu, capture=capture)
    write_profile_tables(captured, folder)
    return write_profile_facts(captured, folder)


def analysed_trace(
    events: Events,
    source: str,
    rules: Sequence[PhaseRule] = (),
    gpu: str | None = None,
    *,
    capture: Events | None = None,
) -> Captured:
    """Analyse a trace; `rules`, `gpu` and `capture` are those of `analyse`.

    Raises:
        StageError: there is nothing in it.
    """
    if not _has_host(events) and not len(events.work):
        raise StageError(
            "the trace holds no operators and no kernels", "record it with torch.profiler and its CPU or CUDA activity"
        )
    return analyse(events, source, rules, gpu, capture=capture)


def write_profile_facts(captured: Captured, folder: Path) -> Profile:
    """Write what a trace holds and what has to be known of it."""
    events = captured.state.events
    device = bool(len(events.work))
    notes = captured.record.note_words()
    if not device:
        notes.insert(0, "The trace holds no kernels: it was recorded on a CPU, or without the CUDA activity.")
    profile = Profile(
        sample=None,
        activities=tuple(name for name, there in (("cpu", _has_host(events)), ("cuda", device)) if there),
        events=event_count(events),
        wall_ms=None,
        phase_ms=phase_ms(captured),
        warmup_runs=None,
        notes=tuple(notes),
    )
    write_text(folder / PROFILE, profile.model_dump_json(indent=2) + "\n")
    return profile


def _has_host(events: Events) -> bool:
    return bool(len(events.calls)) or bool((events.ranges.kind != PYTHON).any())


def write_profile_tables(captured: Captured, folder: Path) -> None:
    """Write `profile.sqlite` and the time line."""
    try:
        with writing(folder / TABLES):
            write_tables(folder / TABLES, captured.operators(), captured.kernels())
    except sqlite3.Error as error:
        raise StageError(f"cannot write {folder / TABLES}: {error}", "free space there, or use --output") from error
    write_timeline(captured, folder)


def event_count(events: Events) -> int:
    """Operators, ranges, calls and device work."""
    return int((events.ranges.kind != PYTHON).sum()) + len(events.calls) + len(events.work)


def phase_ms(captured: Captured) -> dict[str, float]:
    """Host time of each phase."""
    return {name: ns / 1e6 for name, ns in captured.record.phase_host_ns.items()}
