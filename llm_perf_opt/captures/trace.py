"""A trace of torch.profiler: into the same tables as a profile of llmperf's own."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from llm_perf_opt.analysis.events import fold
from llm_perf_opt.artifacts.files import write_text, writing
from llm_perf_opt.artifacts.layout import PROFILE, TABLES
from llm_perf_opt.errors import StageError
from llm_perf_opt.formats.torch_trace import Trace
from llm_perf_opt.records.tables import write_tables
from llm_perf_opt.records.workload import Profile


def write_profile(trace: Trace, folder: Path) -> Profile:
    """Write the tables and facts of a trace into `folder`.

    Raises:
        StageError: there is nothing in it.
    """
    host, device = bool(trace.host.names), bool(trace.device.names)
    if not host and not device:
        raise StageError(
            "the trace holds no operators and no kernels", "record it with torch.profiler and its CPU or CUDA activity"
        )
    tables = fold(trace.host, trace.device)
    try:
        with writing(folder / TABLES):
            write_tables(folder / TABLES, tables.operators.values(), tables.kernels.values())
    except sqlite3.Error as error:
        raise StageError(f"cannot write {folder / TABLES}: {error}", "free space there, or use --output") from error
    profile = Profile(
        sample=None,
        activities=tuple(name for name, there in (("cpu", host), ("cuda", device)) if there),
        events=tables.events,
        wall_ms=None,
        phase_ms=tables.phase_ms,
        warmup_runs=None,
        notes=tuple(_notes(trace)),
    )
    write_text(folder / PROFILE, profile.model_dump_json(indent=2) + "\n")
    return profile


def _notes(trace: Trace) -> list[str]:
    notes = []
    if not trace.device.names:
        notes.append("The trace holds no kernels: it was recorded on a CPU, or without the CUDA activity.")
    if trace.malformed:
        notes.append(f"{trace.malformed:,} events were left out: they have no name or no times.")
    if trace.ambiguous:
        notes.append(
            f"{trace.ambiguous:,} operators and calls of several processes have the same ids: no kernel could be "
            "linked to them."
        )
    return notes
