"""Traces of torch.profiler: one, those of several ranks of a job, or a capture of CUDA graphs and its replay."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llm_perf_opt.artifacts.layout import CAPTURE_TRACE, COLLECTIVES, PROFILE, TABLES, TRACE, rank_dir, timeline_file
from llm_perf_opt.captures.trace_pair import TracePair, read_pair
from llm_perf_opt.captures.trace_secrets import store_trace
from llm_perf_opt.errors import LlmperfError, MissingError, StageError
from llm_perf_opt.formats.json_chunks import Tell, looks_like_trace, silent
from llm_perf_opt.formats.torch_job import job_of
from llm_perf_opt.importing.grouping import number_ranks
from llm_perf_opt.importing.importer import ImportContext, Importer, PhaseRule, read_each
from llm_perf_opt.importing.item import Item, outcome_of
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.records.workload import Profile
from llm_perf_opt.stages.base import Progress

SAID_EVERY_S = 2.0
RECORDS = (TRACE, PROFILE, TABLES, timeline_file(), COLLECTIVES)
"""What is left of each rank."""


def read(context: ImportContext) -> Outcome:
    if any(item.rank is not None for item in context.items):
        return _read_ranks(context)
    folder, progress = context.folder, context.progress
    notes: list[str] = []
    pair = _pair(context)
    item = next(item for item in context.items if pair is None or item.source == pair.replay)

    def store(source: Path, target: Path) -> str:
        return _store(source, target, notes, telling(progress, f"copying {source.name}"))

    def extract() -> None:
        from llm_perf_opt.captures.trace import write_profile
        from llm_perf_opt.formats.torch_events import read_events

        tell = telling(progress, f"reading {item.source.name}")
        events = read_events(item.source, tell) if pair is None else pair.replayed
        capture = None if pair is None else pair.captured
        profile = write_profile(events, folder, item.source.name, context.rules, item.gpu, capture=capture)
        notes.extend(profile.notes)

    for other in (other for other in context.items if other is not item):
        other.copy(folder / CAPTURE_TRACE, progress, store)
    if item.copy(folder / TRACE, progress, store):
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


def telling(progress: Progress, what: str) -> Tell:
    """Says every few seconds how much of a file was read."""
    said_at = time.monotonic()

    def tell(done: int, size: int) -> None:
        nonlocal said_at
        if size and (now := time.monotonic()) - said_at >= SAID_EVERY_S:
            said_at = now
            progress.update(f"{what}: {100 * done // size} %", 0, 1, 0)

    return tell


def _store(source: Path, target: Path, notes: list[str], tell: Tell = silent) -> str:
    sha256, hidden = store_trace(source, target, tell)
    if hidden:
        notes.append(f"{hidden} value(s) under names of secrets are hidden in the stored trace.")
    return sha256


@dataclass(frozen=True)
class RankToRead:
    """One rank, for a process of its own."""

    source: Path
    folder: Path
    rules: tuple[PhaseRule, ...]
    gpu: str | None


@dataclass(frozen=True)
class RankRead:
    """What became of it."""

    sha256: str | None
    notes: tuple[str, ...]
    problem: LlmperfError | None


def read_rank(rank: RankToRead) -> RankRead:
    """Copy and read one rank; it raises nothing that is expected."""
    from llm_perf_opt.captures.ranks import write_rank
    from llm_perf_opt.formats.torch_events import read_events

    notes: list[str] = []
    sha256 = None
    try:
        sha256 = _store(rank.source, rank.folder / TRACE, notes)
        write_rank(read_events(rank.source), rank.folder, rank.source.name, rank.rules, rank.gpu)
    except LlmperfError as error:
        return RankRead(sha256, tuple(notes), error)
    return RankRead(sha256, tuple(notes), None)


def _read_ranks(context: ImportContext) -> Outcome:
    left = [item for item in context.items if not item.read_before]
    notes = _read_left(context, left)
    done = [item for item in context.items if item.problem is None]
    if done:
        from llm_perf_opt.captures.ranks import RankFolder, write_ranks

        context.progress.update("comparing the ranks", 0, 1, 0)
        ranks = [
            RankFolder(item.rank, rank_dir(context.folder, item.rank), number)
            for number, item in enumerate(sorted(done, key=_rank_of))
            if item.rank is not None
        ]
        record = write_ranks(context.folder, ranks, context.world_size, notes)
        assert record.rank_comparison is not None
        notes += record.rank_comparison.notes
    return outcome_of(context.items, Outcome(status="completed", reason=" ".join(notes) or None))


def _rank_of(item: Item) -> int:
    return -1 if item.rank is None else item.rank


def _read_left(context: ImportContext, left: Sequence[Item]) -> list[str]:
    """Read the ranks that are left, and record each as it ends."""
    rules = tuple(context.rules)
    arguments = [
        RankToRead(item.source.absolute(), rank_dir(context.folder, _rank_of(item)), rules, item.gpu) for item in left
    ]
    notes = []
    for position, found in read_each(context, "reading ranks", read_rank, arguments):
        item = left[position]
        if isinstance(found, RankRead):
            item.sha256, item.problem = found.sha256, found.problem
            item.stored = None if found.sha256 is None else arguments[position].folder / TRACE
            notes += [f"Rank {item.rank}: {note}" for note in found.notes]
        else:
            item.problem = found
    return notes


def kept(item: Item, folder: Path) -> bool:
    """Whether all that is left of a rank is there."""
    return item.rank is not None and all((rank_dir(folder, item.rank) / name).exists() for name in RECORDS)


def number(items: Sequence[Item]) -> int | None:
    """The ranks of several traces; a capture and its replay are no ranks."""
    paths = [item.stored if item.read_before and item.stored is not None else item.source for item in items]
    jobs = []
    for item, path in zip(items, paths, strict=True):
        try:
            jobs.append(job_of(path))
        except OSError as error:
            raise MissingError(
                f"{item.source} cannot be read: {error.strerror}", "name a file that can be read"
            ) from error
    if len({job.rank for job in jobs} - {None}) < 2 and read_pair(paths) is not None:
        return None
    return number_ranks(items, jobs)


TRACE_KIND = "torch_trace"
IMPORTER = Importer(
    kinds={TRACE_KIND: "torch.profiler trace (JSON, may be gzip)"},
    recognise=lambda _, start: TRACE_KIND if looks_like_trace(start) else None,
    read=read,
    record=Profile,
    number_ranks=number,
    kept=kept,
)
