"""The kernels of tables of device work, of exports and of traces, and of them those that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llm_perf_opt.analysis.timeline.kernel_totals import KernelRows
from llm_perf_opt.captures.kernel_tables import Capture
from llm_perf_opt.errors import ConfigError, StageError
from llm_perf_opt.nearest import nearest
from llm_perf_opt.records.columns import GRAPH, Events
from llm_perf_opt.records.kernels import Choice

MOST_NAMED = 20


@dataclass(frozen=True)
class _Launches:
    """Kernels and whole graphs of one capture."""

    rows: KernelRows
    device: Any
    phase: Any
    phases: Sequence[str]

    def where(self, chosen: Any) -> KernelRows:
        rows = self.rows
        return KernelRows(rows.names, rows.name[chosen], rows.graph[chosen], rows.duration_ns[chosen])


def chosen_of_tables(captures: Sequence[Capture], choice: Choice) -> list[KernelRows]:
    """What is chosen of the tables of device work of a run; `choice.range` is not looked at.

    Raises:
        ConfigError: there is no such device, phase or rank.
        StageError: a table cannot be read.
    """
    return _chosen(captures, [_of_table(capture.path) for capture in captures], choice)


def chosen_of_files(captures: Sequence[Capture], choice: Choice, read: Callable[[Path], Events]) -> list[KernelRows]:
    """What is chosen of the events of files.

    Raises:
        ConfigError: there is no such device, phase, range or rank.
        StageError: a file cannot be read.
    """
    # A table of device work is read without them.
    from llm_perf_opt.analysis.timeline.launched_in import launched_in, range_names
    from llm_perf_opt.analysis.timeline.launches import launch_places
    from llm_perf_opt.analysis.timeline.tables import is_kernel
    from llm_perf_opt.captures.timeline import analyse

    states = [analyse(read(capture.path), capture.path.name) for capture in captures]
    if choice.range is not None:
        known = sorted({name for captured in states for name in range_names(captured.state)})
        if choice.range not in known:
            like = f"did you mean {nearest(choice.range, known)}?" if known else "the file holds no ranges"
            raise ConfigError(f"--range {choice.range}: there is no range of this name", like)
    parts = []
    for captured in states:
        state = captured.state
        kept = is_kernel(state)
        if choice.range is not None:
            kept &= launched_in(state, choice.range)
        work = state.events.work.take(kept)
        phase = captured.phases.of(*launch_places(state.events, state.launches, kept))
        rows = KernelRows(state.events.names, work.name, work.kind == GRAPH, work.end_ns - work.start_ns)
        parts.append(_Launches(rows, work.device, phase, captured.phases.names))
    return _chosen(captures, parts, choice)


def _chosen(captures: Sequence[Capture], parts: Sequence[_Launches], choice: Choice) -> list[KernelRows]:
    found = []
    devices: set[int] = set()
    phases: set[str] = set()
    for capture, part in zip(captures, parts, strict=True):
        device = part.device + capture.first_device
        devices |= set(np.unique(device).tolist())
        phases |= {part.phases[number] for number in np.unique(part.phase).tolist()}
        chosen = np.ones(len(device), np.bool_)
        if choice.device is not None:
            chosen &= device == choice.device
        if choice.phase is not None:
            chosen &= np.isin(part.phase, [number for number, name in enumerate(part.phases) if name == choice.phase])
        if choice.rank is not None:
            chosen &= np.isin(part.device, [number for number, rank in enumerate(capture.ranks) if rank == choice.rank])
        found.append(part.where(chosen))
    ranks = {rank for capture in captures for rank in capture.ranks if rank is not None}
    _refuse("device", choice.device, sorted(devices))
    _refuse("phase", choice.phase, sorted(phases))
    _refuse("rank", choice.rank, sorted(ranks))
    return found


def _refuse(option: str, asked: object, known: Sequence[object]) -> None:
    if asked is None or asked in known or (not known and option != "rank"):
        return
    more = ", …" if len(known) > MOST_NAMED else ""
    remedy = f"one of {', '.join(map(str, known[:MOST_NAMED]))}{more}" if known else f"leave out --{option}"
    raise ConfigError(f"--{option} {asked}: there are no kernels of it", remedy)


def _of_table(path: Path) -> _Launches:
    import pyarrow as pa
    from pyarrow import parquet

    columns = ("device", "kind", "name", "start_ns", "end_ns", "trusted", "phase")
    try:
        table = parquet.read_table(path, columns=list(columns)).select(columns).unify_dictionaries()
    except (OSError, KeyError, pa.ArrowException) as error:
        raise StageError(f"{path} cannot be read: {error}", "restore the file, or run again") from error

    def words(name: str) -> tuple[Any, list[str]]:
        column = table[name].combine_chunks()
        chunk = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
        return chunk.indices.to_numpy(zero_copy_only=False), chunk.dictionary.to_pylist()

    kind, kinds = words("kind")
    wanted = [number for number, word in enumerate(kinds) if word in ("kernel", "graph")]
    kept = np.isin(kind, wanted) & table["trusted"].to_numpy()
    name, names = words("name")
    phase, phases = words("phase")
    # Absent times make floats of a column; those of trusted work are there.
    start, end = (table[column].fill_null(0).to_numpy() for column in ("start_ns", "end_ns"))
    graph = np.isin(kind[kept], [number for number, word in enumerate(kinds) if word == "graph"])
    rows = KernelRows(names, name[kept], graph, (end - start)[kept])
    return _Launches(rows, table["device"].to_numpy()[kept], phase[kept], phases)
