"""What is kept of a report of nsys once it was read: enough to join it with others, without its events."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llm_perf_opt.analysis.timeline.collectives import Collectives, collectives_of
from llm_perf_opt.analysis.timeline.kernel_times import KernelRuns, kernel_runs
from llm_perf_opt.analysis.timeline.state import State
from llm_perf_opt.artifacts.files import copy_file, replacing, write_text, writing
from llm_perf_opt.artifacts.layout import (
    KERNEL_RUNS,
    REPORT_FACTS,
    collectives_file,
    drill_down_file,
    rank_dir,
    report_dir,
    report_dirs,
    timeline_file,
    timeline_table,
)
from llm_perf_opt.captures.ranks import read_collectives, write_collectives
from llm_perf_opt.captures.timeline import Captured, write_timeline
from llm_perf_opt.errors import StageError
from llm_perf_opt.records.columns import KERNEL, NONE
from llm_perf_opt.records.device_timeline import DeviceTimeline
from llm_perf_opt.records.nsys_left import RankProcess, ReportLeft
from llm_perf_opt.records.tools import NsysReport


@dataclass(frozen=True)
class Left:
    """One report."""

    facts: ReportLeft
    line: DeviceTimeline
    kernels: KernelRuns
    collectives: Mapping[int, Collectives]
    """Of each process in `facts.ranks`."""


def left_of(captured: Captured, report: NsysReport, number: int = 1) -> Left:
    """What is kept of a report, the `number`-th of a stage."""
    state = captured.state
    events, work = state.events, state.events.work
    ranks = _rank_processes(state)
    placed = state.trusted & (work.device != NONE)
    facts = ReportLeft(
        number=number,
        report=report,
        host=events.about.host,
        pids=tuple(process.pid for process in events.processes),
        ranks=ranks,
        users=tuple(
            tuple(np.unique(work.process[placed & (work.device == device)]).tolist())
            for device in np.unique(work.device[placed]).tolist()
        ),
    )
    collectives = {one.process: collectives_of(state, one.process) for one in ranks}
    return Left(facts, captured.record, kernel_runs(events, state.reason), collectives)


def _rank_processes(state: State) -> tuple[RankProcess, ...]:
    """Processes that communicate; without any the one that runs kernels, if it is one."""
    work = state.events.work
    kernels = state.trusted & (work.kind == KERNEL) & (work.process != NONE)
    chosen = np.unique(work.process[kernels & state.communicates])
    communicates = bool(len(chosen))
    if not communicates:
        chosen = np.unique(work.process[kernels])
        chosen = chosen if len(chosen) == 1 else chosen[:0]
    return tuple(
        RankProcess(
            process=process,
            device=int(work.device[kernels & (work.process == process)].min()),
            communicates=communicates,
        )
        for process in chosen.tolist()
    )


def leave(captured: Captured, report: NsysReport, directory: Path, number: int) -> Left:
    """Write the time line of one of several reports into a directory of its own below that of a stage, and what is
    kept."""
    own = report_dir(directory, number)
    for old in (place_of(directory, number), own):
        if old is not None and old.is_dir():
            shutil.rmtree(old)
    own.mkdir(parents=True)
    left = left_of(captured, report, number)
    write_timeline(captured, own)
    for process, found in left.collectives.items():
        write_collectives(found, own / collectives_file(process))
    _write_runs(left.kernels, own / KERNEL_RUNS)
    write_text(own / REPORT_FACTS, left.facts.model_dump_json(indent=2) + "\n")
    return left


def place_of(directory: Path, number: int) -> Path | None:
    """Where the `number`-th report left everything; None where it did not."""
    for own in report_dirs(directory):
        try:
            facts = ReportLeft.read(own / REPORT_FACTS)
        except (OSError, ValueError):
            continue
        kept = (timeline_file(), KERNEL_RUNS, *(collectives_file(one.process) for one in facts.ranks))
        if facts.number == number and all((own / name).is_file() for name in kept):
            return own
    return None


def name_after_ranks(directory: Path, numbers: Sequence[int], firsts: Sequence[int | None]) -> None:
    """Have each report in the directory of its first rank; of one without ranks it keeps its number."""
    for number in numbers:  # what was named before may have to make room
        _move(place_of(directory, number), report_dir(directory, number))
    for number, first in zip(numbers, firsts, strict=True):
        if first is not None:
            _move(report_dir(directory, number), rank_dir(directory, first))


def _move(own: Path | None, target: Path) -> None:
    if own is None or own == target:
        return
    target.mkdir(exist_ok=True)
    for file in own.iterdir():
        file.replace(target / file.name)
    own.rmdir()


def name_alone(own: Path, directory: Path, number: int | None) -> None:
    """Have the time line of a report that is of no rank in the directory of the stage too."""
    named = {
        timeline_file(): timeline_file(number),
        timeline_table(): timeline_table(number),
        drill_down_file(): drill_down_file(number),
    }
    for name, target in named.items():
        if (own / name).is_file():
            copy_file(own / name, directory / target)


def read_left(folder: Path) -> Left:
    """What a report left in its directory.

    Raises:
        StageError: it cannot be read back.
    """
    try:
        facts = ReportLeft.read(folder / REPORT_FACTS)
        line = DeviceTimeline.read(folder / timeline_file())
        collectives = {one.process: read_collectives(folder / collectives_file(one.process)) for one in facts.ranks}
        return Left(facts, line, _read_runs(folder / KERNEL_RUNS), collectives)
    except (OSError, ValueError) as error:
        raise StageError(
            f"what was read of a report cannot be read back: {error}", f"remove {folder}, and go on"
        ) from error


def _write_runs(kernels: KernelRuns, path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    names = pa.DictionaryArray.from_arrays(
        pa.array(kernels.name, pa.int32()), pa.array(list(kernels.names), pa.string())
    )
    columns = {"name": names, "duration_ns": pa.array(kernels.duration_ns)}
    units = {"name": "as the tool spells it", "duration_ns": "ns"}
    schema = pa.schema(
        [pa.field(name, column.type, metadata={"unit": units[name]}) for name, column in columns.items()]
    )
    with writing(path), replacing(path) as file:
        parquet.write_table(pa.table(columns, schema=schema), file, compression="zstd")


def _read_runs(path: Path) -> KernelRuns:
    from pyarrow import parquet

    table = parquet.read_table(path)
    names = table["name"].unify_dictionaries().combine_chunks()
    indices = names.indices.to_numpy().astype(np.int32)
    return KernelRuns(names.dictionary.to_pylist(), indices, table["duration_ns"].to_numpy())
