"""The time line of one capture: its record, and all device work in a file that later questions are asked of."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_perf_opt.analysis.timeline.drill_down import drill_down
from llm_perf_opt.analysis.timeline.launches import launch_places
from llm_perf_opt.analysis.timeline.modules import OUR_MODULES
from llm_perf_opt.analysis.timeline.phases import Phases, find_phases
from llm_perf_opt.analysis.timeline.places import Places, find_places
from llm_perf_opt.analysis.timeline.state import State
from llm_perf_opt.analysis.timeline.steps import PhaseRule
from llm_perf_opt.analysis.timeline.summary import analysed_file, record_of
from llm_perf_opt.analysis.timeline.tables import Tables, tables_of
from llm_perf_opt.artifacts.files import write_text, writing
from llm_perf_opt.artifacts.layout import drill_down_file, timeline_file, timeline_table
from llm_perf_opt.records.columns import ABSENT, NONE, WORK_KINDS, Events, Note
from llm_perf_opt.records.device_timeline import DeviceTimeline
from llm_perf_opt.records.factor import distinct
from llm_perf_opt.records.tables import KernelRow, OperatorRow
from llm_perf_opt.redact import redact_argv

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_AT_ONCE = 1 << 17
UNITS = {
    "device": "position in devices of timeline.json",
    "process": "pid, or what the file calls it; null: not known",
    "stream": "as the process numbers it",
    "kind": "kernel, graph (a CUDA graph traced whole), copy, set",
    "name": "as the tool spells it",
    "start_ns": "ns, clock of the file; null: absent",
    "end_ns": "ns, clock of the file; null: absent",
    "trusted": "false: its times cannot be, see distrusted in timeline.json",
    "bytes": "bytes of copies and sets; null: not known",
    "launch_start_ns": "ns, start of the call that launched it; null: not recorded",
    "launch_end_ns": "ns, end of that call",
    "launched_in": "innermost operator or range around the launch; null: none",
    "operator": "innermost operator around the launch; null: none",
    "module": "innermost module around the launch, of work in a graph around its capture; null: none",
    "captured_in": "of work in a graph: innermost operator or range around its capture; null: none, or not known",
    "phase": "innermost phase around the launch, or outside",
}
"""Columns of `timeline.parquet`, one row for each piece of device work."""


@dataclass(frozen=True)
class Captured:
    """One file, analysed."""

    state: State
    phases: Phases
    places: Places
    tables: Tables
    record: DeviceTimeline

    def operators(self) -> list[OperatorRow]:
        return [
            OperatorRow(
                row.phase, row.name, row.input_shapes, row.calls, row.self_host_ns, row.total_host_ns, row.device_ns
            )
            for row in self.tables.operators
        ]

    def kernels(self) -> list[KernelRow]:
        return [KernelRow(row.phase, row.name, row.calls, row.total_ns, row.max_ns) for row in self.tables.kernels]


def analyse(
    events: Events,
    source: str,
    rules: Sequence[PhaseRule] = (),
    gpu: str | None = None,
    *,
    capture: Events | None = None,
    modules: Collection[str] = OUR_MODULES,
) -> Captured:
    """Analyse the events of a file that is called `source`.

    Args:
        rules: ranges of whatever name that are phases, before those that are recognised.
        gpu: name of the GPUs that the file does not name.
        capture: a recording of the capture of the CUDA graphs that the file replays.
        modules: labels that are those of modules.

    Raises:
        StageError: its times lie too far apart.
    """
    about = dataclasses.replace(events.about, command=tuple(redact_argv(events.about.command)))
    devices = [dataclasses.replace(device, name=device.name or gpu) for device in events.devices]
    notes = [*events.notes, *_rule_notes(events, rules)]
    others = sorted({device.name for device in events.devices if device.name is not None} - {gpu})
    if gpu is not None and others:
        notes.append(Note(f"--gpu {gpu} is not used for what the file names: {', '.join(others)}."))
    state = analysed_file(dataclasses.replace(events, about=about, devices=devices, notes=notes))
    phases = find_phases(state, rules)
    tables = tables_of(state, phases)
    places = find_places(state, capture, modules)
    return Captured(state, phases, places, tables, record_of(state, phases, tables, places, source))


def _rule_notes(events: Events, rules: Sequence[PhaseRule]) -> list[Note]:
    """Rules that no range is called like."""
    names = [events.names[name] for name in distinct(events.ranges.name).tolist()] if rules else []
    return [
        Note(f"--range {phase}={pattern.pattern}: no range of {len(names):,} different names matches it.")
        for phase, pattern in rules
        if not any(pattern.search(name) for name in names)
    ]


def write_timeline(captured: Captured, folder: Path, number: int | None = None) -> None:
    """Write the records and the table of a capture, its `number`-th where a stage has several."""
    write_text(folder / timeline_file(number), captured.record.model_dump_json(indent=2) + "\n")
    found = drill_down(captured.state, captured.phases, captured.record.source)
    write_text(folder / drill_down_file(number), found.model_dump_json() + "\n")
    if not len(captured.state.events.work):
        return
    import pyarrow as pa
    from pyarrow import parquet

    path = folder / timeline_table(number)
    rows = len(captured.state.events.work)
    first = _table(captured, slice(0, ROWS_AT_ONCE))
    # Dictionaries of times would be made for nothing; the steps from one to the next are short.
    words = [
        name
        for name, values in zip(first.column_names, first.columns, strict=True)
        if pa.types.is_dictionary(values.type)
    ]
    numbers = dict.fromkeys(
        (name for name in first.column_names if name not in {*words, "trusted"}), "DELTA_BINARY_PACKED"
    )
    how: dict[str, Any] = {"compression": "zstd", "use_dictionary": words, "column_encoding": numbers}
    with writing(path), parquet.ParquetWriter(path, first.schema, **how) as writer:
        writer.write_table(first)
        for start in range(ROWS_AT_ONCE, rows, ROWS_AT_ONCE):
            writer.write_table(_table(captured, slice(start, start + ROWS_AT_ONCE)))


def _table(captured: Captured, rows: slice) -> pa.Table:
    import pyarrow as pa

    state, phases, places = captured.state, captured.phases, captured.places
    events, launches = state.events, state.launches
    work = events.work.take(rows)
    owners = launches.owner[rows]
    owner = np.where(owners == NONE, NONE, _of(events.ranges.name, owners))
    phase = phases.of(*launch_places(events, launches, rows))
    pids = [str(process.pid) for process in events.processes]
    columns = {
        "device": pa.array(work.device),
        "process": _words(work.process, pids),
        "stream": pa.array(work.stream, pa.int64()),
        "kind": _words(work.kind, WORK_KINDS),
        "name": _words(work.name, events.names),
        "start_ns": _numbers(work.start_ns, ABSENT),
        "end_ns": _numbers(work.end_ns, ABSENT),
        "trusted": pa.array(state.trusted[rows]),
        "bytes": _numbers(work.bytes, NONE),
        "launch_start_ns": _numbers(launches.start_ns(rows), ABSENT),
        "launch_end_ns": _numbers(launches.end_ns(rows), ABSENT),
        "launched_in": _words(owner, events.names),
        "operator": _words(places.operator[rows], events.names),
        "module": _words(places.module[rows], places.modules.names),
        "captured_in": _words(places.origins.captured_in[rows], places.origins.words),
        "phase": _words(phase, phases.names),
    }
    schema = pa.schema(
        [pa.field(name, values.type, metadata={"unit": UNITS[name]}) for name, values in columns.items()]
    )
    return pa.table(columns, schema=schema)


def _of(column: Any, rows: Any) -> Any:
    return column[np.maximum(rows, 0)] if len(column) else rows


def _numbers(values: Any, absent: int) -> Any:
    import pyarrow as pa

    return pa.array(values, mask=np.asarray(values == absent))


def _words(positions: Any, words: Sequence[str]) -> Any:
    """Positions as the words that they stand for; a negative one is null."""
    import pyarrow as pa

    indices = pa.array(np.maximum(positions, 0).astype(np.int32), mask=np.asarray(positions < 0))
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(words), pa.string()))
