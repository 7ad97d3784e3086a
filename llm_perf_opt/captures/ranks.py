"""Several ranks of one job: what each leaves for their comparison, and the record of all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llm_perf_opt.analysis.timeline.before import LOOKS, SHORTEST_NS, Before
from llm_perf_opt.analysis.timeline.collectives import CollectiveRows, Collectives, Key, collectives_of
from llm_perf_opt.analysis.timeline.host_collectives import host_collectives
from llm_perf_opt.analysis.timeline.joined import joined
from llm_perf_opt.analysis.timeline.ranks import Member, compare
from llm_perf_opt.analysis.timeline.state import State
from llm_perf_opt.analysis.timeline.steps import PhaseRule
from llm_perf_opt.analysis.timeline.summary import analysed_file
from llm_perf_opt.artifacts.files import replacing, write_text, writing
from llm_perf_opt.artifacts.layout import COLLECTIVES, PROFILE, TABLES, TRACE, timeline_file
from llm_perf_opt.captures.trace import analysed_trace, write_profile_facts, write_profile_tables
from llm_perf_opt.errors import StageError
from llm_perf_opt.formats.torch_events import read_events
from llm_perf_opt.records.columns import NONE, Events
from llm_perf_opt.records.device_timeline import DeviceTimeline
from llm_perf_opt.records.tables import KernelRow, OperatorRow, ProfileTables, write_tables
from llm_perf_opt.records.workload import Profile

UNITS = {
    "start_ns": "ns, clock of the file",
    "end_ns": "ns, clock of the file",
    "what": "what the file calls it, or the name of its kernel",
    "where": "its communicator, or the place of its stream among those with such kernels",
    "recorded": "the file says the communicator",
    "numbered": "the file says the number of the call on it",
    "number": "of this one among those of the same what and where",
    "synchronises": "true: it ends at one time on all ranks",
}
"""Columns of `collectives.parquet`, one row for each kernel that communicates. Columns `before_N_us` say what the rank
mostly did in so many µs before it; null where that reaches behind the collective before."""
_LOOKS = tuple(f"before_{(SHORTEST_NS << look) // 1000}_us" for look in range(LOOKS))


@dataclass(frozen=True)
class RankFolder:
    """What was read of one rank."""

    rank: int
    folder: Path
    clock: int
    """Ranks of one number share their clock."""


def write_rank(
    events: Events, folder: Path, source: str, rules: Sequence[PhaseRule] = (), gpu: str | None = None
) -> None:
    """Write what the trace of one rank holds into the rank's folder; `rules` and `gpu` are those of `analyse`.

    Raises:
        StageError: there is nothing in it.
    """
    captured = analysed_trace(events, source, rules, gpu)
    write_profile_tables(captured, folder)
    write_profile_facts(captured, folder)
    write_collectives(_collectives_of(captured.state), folder / COLLECTIVES)


def write_collectives_of_trace(folder: Path) -> None:
    """Write the collectives of a rank from the trace in its folder: only the trace says their communicators.

    Raises:
        MissingError, StageError: it cannot be read.
    """
    write_collectives(_collectives_of(analysed_file(read_events(folder / TRACE))), folder / COLLECTIVES)


def _collectives_of(state: State) -> Collectives:
    """Those of the devices; where no kernel communicates those of the host."""
    host = None if state.communicates.any() else host_collectives(state)
    return collectives_of(state) if host is None else host


def write_collectives(found: Collectives, path: Path) -> None:
    """Write the collectives of a rank."""
    import pyarrow as pa
    from pyarrow import parquet

    rows, keys = found.rows, found.keys
    columns: dict[str, Any] = {
        "start_ns": pa.array(rows.start_ns),
        "end_ns": pa.array(rows.end_ns),
        "what": _words(rows.key, [key.what for key in keys]),
        "where": _words(rows.key, [key.where for key in keys]),
        "recorded": pa.array(np.array([key.recorded for key in keys], np.bool_)[rows.key]),
        "numbered": pa.array(np.array([key.numbered for key in keys], np.bool_)[rows.key]),
        "number": pa.array(rows.number),
        "synchronises": pa.array(rows.synchronises == 1),
    }
    units = dict(UNITS)
    for column, name in enumerate(_LOOKS):
        columns[name] = _words(found.before.looks[:, column], found.before.words)
        units[name] = f"in the last {name.split('_')[1]} µs before start_ns"
    schema = pa.schema(
        [pa.field(name, values.type, metadata={"unit": units[name]}) for name, values in columns.items()]
    )
    with writing(path), replacing(path) as file:
        parquet.write_table(pa.table(columns, schema=schema), file, compression="zstd")


def _words(positions: Any, words: Sequence[str]) -> Any:
    """Positions as the words that they stand for; a negative one is null."""
    import pyarrow as pa

    unique = {word: place for place, word in enumerate(dict.fromkeys(words))}
    places = np.array([unique[word] for word in words] or [0], np.int32)
    indices = pa.array(places[np.maximum(positions, 0)], mask=np.asarray(positions < 0))
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(unique), pa.string()))


def read_collectives(path: Path) -> Collectives:
    """The collectives in a file.

    Raises:
        OSError, ValueError: it cannot be read, or holds something else.
    """
    from pyarrow import parquet

    table = parquet.read_table(path)
    names = ("what", "where", "recorded", "numbered")
    found: dict[Key, int] = {}
    each = zip(*(table[name].to_pylist() for name in names), strict=True)
    key = np.array([found.setdefault(Key(*values), len(found)) for values in each], np.int32)
    words: dict[str, int] = {}
    looks = np.full((len(table), LOOKS), NONE, np.int32)
    for column, name in enumerate(_LOOKS):
        values = table[name].unify_dictionaries().combine_chunks()
        known = np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False))
        places, first, inverse = np.unique(
            values.indices.drop_null().to_numpy(), return_index=True, return_inverse=True
        )
        number = np.empty(len(places), np.int32)
        for place in np.argsort(first).tolist():  # words in the order in which they are met
            number[place] = words.setdefault(values.dictionary[int(places[place])].as_py(), len(words))
        looks[known, column] = number[inverse]
    start, end = table["start_ns"].to_numpy(), table["end_ns"].to_numpy()
    synchronises = table["synchronises"].to_numpy().astype(np.int8)
    rows = CollectiveRows(start, end, key, table["number"].to_numpy(), synchronises)
    return Collectives(rows, tuple(found), Before(looks, tuple(words)), int((end - start).sum()))


def write_ranks(
    folder: Path, ranks: Sequence[RankFolder], world_size: int | None, notes: Sequence[str] = ()
) -> DeviceTimeline:
    """Compare ranks that were read, and write the records and tables of all of them into `folder`.

    Args:
        ranks: at least one; each folder holds its time line, tables, facts and collectives.
        notes: to know of them all.

    Raises:
        MissingError, StageError: what one left cannot be read back, or there is no room.
    """
    record = _write_comparison(folder, ranks, world_size)
    assert record.rank_comparison is not None
    write_rank_tables(folder, ranks, (*notes, *record.rank_comparison.notes))
    return record


def _write_comparison(folder: Path, ranks: Sequence[RankFolder], world_size: int | None) -> DeviceTimeline:
    lines, members = [], []
    for rank in ranks:
        try:
            line = DeviceTimeline.read(rank.folder / timeline_file())
            members.append(Member(rank.rank, line.source, rank.clock, read_collectives(rank.folder / COLLECTIVES)))
        except (OSError, ValueError) as error:
            raise StageError(
                f"what was read of rank {rank.rank} cannot be read back: {error}", f"remove {rank.folder}, and go on"
            ) from error
        lines.append(line)
    skews, comparison = compare(members, world_size)
    ranks_of = [[rank.rank] * len(line.devices) for rank, line in zip(ranks, lines, strict=True)]
    record = joined(lines, ranks_of, skews, comparison)
    write_text(folder / timeline_file(), record.model_dump_json(indent=2) + "\n")
    return record


def write_rank_tables(folder: Path, ranks: Sequence[RankFolder], notes: Iterable[str]) -> Profile:
    """Add up what the ranks hold: the tables of operators and kernels, and the facts.

    Raises:
        MissingError, StageError: a table cannot be read or written.
    """
    operators: dict[tuple[str, str, str], OperatorRow] = {}
    kernels: dict[tuple[str, str], KernelRow] = {}
    profiles = []
    for rank in ranks:
        profiles.append(Profile.read(rank.folder / PROFILE))
        tables = ProfileTables.read(rank.folder / TABLES)
        for operator in tables.operators:
            at = operators.setdefault(
                (operator.phase, operator.name, operator.input_shapes),
                OperatorRow(operator.phase, operator.name, operator.input_shapes),
            )
            at.calls += operator.calls
            at.self_cpu_ns += operator.self_cpu_ns
            at.total_cpu_ns += operator.total_cpu_ns
            at.device_ns += operator.device_ns
        for kernel in tables.kernels:
            of = kernels.setdefault((kernel.phase, kernel.name), KernelRow(kernel.phase, kernel.name))
            of.calls += kernel.calls
            of.total_ns += kernel.total_ns
            of.max_ns = max(of.max_ns, kernel.max_ns)
    try:
        with writing(folder / TABLES):
            write_tables(folder / TABLES, operators.values(), kernels.values())
    except sqlite3.Error as error:
        raise StageError(f"cannot write {folder / TABLES}: {error}", "free space there, or use --output") from error
    added_up = [f"Operators, kernels and host times are those of {len(ranks)} ranks added up."][: len(ranks) - 1]
    # What was profiled is the same on all ranks; what it took is in the folder of each.
    profile = profiles[0].model_copy(
        update={
            "activities": tuple(dict.fromkeys(name for found in profiles for name in found.activities)),
            "events": sum(found.events for found in profiles),
            "phase_ms": _added(found.phase_ms for found in profiles),
            "predicted": None,
            "taken": None,
            "notes": tuple(dict.fromkeys((*added_up, *notes, *(note for found in profiles for note in found.notes)))),
        }
    )
    write_text(folder / PROFILE, profile.model_dump_json(indent=2) + "\n")
    return profile


def _added(times: Iterable[dict[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for phases in times:
        for name, ms in phases.items():
            found[name] = found.get(name, 0.0) + ms
    return found
