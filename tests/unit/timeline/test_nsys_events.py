"""Reading nsys exports: what was written comes back, whatever the order, the variant and the bad values."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.timeline.launches import calls_of
from llm_perf_opt.analysis.timeline.summary import summary
from llm_perf_opt.errors import StageError
from llm_perf_opt.formats.nsys_events import GRAPH_NAME, read_events
from llm_perf_opt.formats.nsys_export import is_export
from llm_perf_opt.opening import open_database
from llm_perf_opt.records.columns import GRAPH, KERNEL, OPERATOR, PUSH_POP, Events
from tests.unit.timeline.build import Call, Piece, Rows, Span
from tests.unit.timeline.files import TABLES, global_tid, write_nsys, write_tables
from tests.unit.timeline.strategies import time_lines


def figures(events: Events) -> dict[str, object]:
    """What does not depend on how a file numbers things."""
    record = summary(events)
    drop = {"process", "ordinal", "gpu", "name", "device"}
    return {
        "devices": sorted(str(device.model_dump(exclude=drop)) for device in record.devices),
        "kernels": [row.model_dump() for row in record.kernels],
        "ranges": [row.model_dump() for row in record.ranges],
        "unattributed": [row.model_dump() for row in record.unattributed],
        "distrusted": [row.model_dump() for row in record.distrusted],
        "steps": sorted(str(row.model_dump(exclude=drop)) for row in record.steps),
        "copies": sorted((row.direction, row.count, row.bytes, row.total_ns) for row in record.copies),
    }


def as_nsys_numbers(rows: Rows) -> Rows:
    """As nsys can write it: ranges are pushed and popped, each process has its own devices, graphs have one name."""
    ids = {(piece.process, piece.device) for piece in rows.work}
    numbers = {pair: number for number, pair in enumerate(sorted(ids))}
    names = {GRAPH: GRAPH_NAME, 2: "copy, host to device", 3: "set"}
    work = [
        dataclasses.replace(
            piece, device=numbers[piece.process, piece.device], name=names.get(piece.kind, piece.name), bytes=100
        )
        for piece in rows.work
    ]
    spans = [
        dataclasses.replace(span, kind=PUSH_POP) for span in rows.spans if not span.name.startswith("ProfilerStep")
    ]
    return dataclasses.replace(rows, work=work, spans=spans, waits=[], devices=max(1, len(numbers)))


@given(rows=time_lines(), seed=st.none() | st.integers(0, 9), inline=st.booleans())
def test_an_export_says_what_was_written(rows: Rows, seed: int | None, inline: bool) -> None:
    rows = dataclasses.replace(rows, waits=[])
    spans = [span for span in rows.spans if not span.name.startswith("ProfilerStep")]
    written = dataclasses.replace(rows, spans=spans, work=[dataclasses.replace(row, bytes=100) for row in rows.work])
    expected = as_nsys_numbers(written)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.sqlite"
        write_nsys(path, written, seed=seed, inline=inline)
        events = read_events(path)
    assert figures(events) == figures(expected.events())


def test_everything_that_can_collide_does(tmp_path: Path) -> None:
    """Two processes with the same thread, correlation, domain and device numbers."""
    rows = Rows(
        work=[
            Piece(1000, 1100, name="gemm", process=0, correlation=1),
            Piece(1000, 1900, name="gemm", process=1, correlation=1),
        ],
        calls=[Call(20, 30, 0, correlation=1), Call(20, 30, 1, correlation=1)],
        spans=[
            Span(10, 5000, 0, "work", PUSH_POP, "alpha"),
            Span(10, 5000, 1, "work", PUSH_POP, "beta"),
        ],
        threads=[0, 1],
    )
    path = tmp_path / "report.sqlite"
    write_nsys(path, rows)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        for table in ("CUPTI_ACTIVITY_KIND_RUNTIME", "NVTX_EVENTS"):
            database.execute(f"UPDATE {table} SET globalTid = (globalTid >> 24 << 24) | 7")
        assert database.execute("SELECT count(DISTINCT domainId) FROM NVTX_EVENTS WHERE domainId > 0").fetchone() == (
            1,
        )
    record = summary(read_events(path))
    assert {row.domain: row.kernel_ns for row in record.ranges} == {"alpha": 100, "beta": 900}
    assert [device.busy_ns for device in record.devices] == [100, 900]
    assert [device.gpu for device in record.devices] == [None, None]


BAD = [1.5, "abc", b"\x01\x02", None]


@pytest.mark.parametrize("table", ["CUPTI_ACTIVITY_KIND_KERNEL", "CUPTI_ACTIVITY_KIND_RUNTIME", "NVTX_EVENTS"])
@pytest.mark.parametrize("column", ["start", "end", "correlationId", "globalTid", "globalPid", "domainId", "deviceId"])
@pytest.mark.parametrize("value", BAD)
def test_bad_values_are_counted_and_never_summed(tmp_path: Path, table: str, column: str, value: object) -> None:
    if column not in TABLES[table].split(", "):
        return
    rows = Rows(
        work=[Piece(100 * n, 100 * n + 50, correlation=n) for n in range(1, 6)],
        calls=[Call(100 * n - 20, 100 * n - 10, correlation=n) for n in range(1, 6)],
        spans=[Span(10, 900, name="decode", kind=PUSH_POP), Span(20, 800, name="inner", kind=PUSH_POP)],
    )
    path = tmp_path / "report.sqlite"
    write_nsys(path, rows)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = 1", (value,))
    events = read_events(path)
    record = summary(events)
    said = [note for note in record.notes if table in note.text]
    if value is None:
        assert len(events.work) == 5  # NULL means that nsys had nothing to say
    else:
        assert [note.count for note in said] == [1]
        assert column in said[0].text
    kernels = sum(row.calls for row in record.kernels)
    bad_kernel = table == "CUPTI_ACTIVITY_KIND_KERNEL" and column in ("start", "end")
    assert kernels == (4 if bad_kernel else 5)
    assert sum(row.total_ns for row in record.kernels) == kernels * 50


def test_negative_and_zero_times_are_counted_apart(tmp_path: Path) -> None:
    rows = Rows(work=[Piece(100, 150), Piece(300, 200), Piece(400, 400)])
    write_nsys(tmp_path / "report.sqlite", rows)
    record = summary(read_events(tmp_path / "report.sqlite"))
    assert [(row.reason, row.count) for row in record.distrusted] == [
        ("its start or duration is zero", 1),
        ("it ends before it starts", 1),
    ]
    assert record.devices[0].busy_ns == record.devices[0].wall_ns == 50


def test_physical_gpus_where_the_file_names_them(tmp_path: Path) -> None:
    """Both processes see device 0; it is one GPU for the first two and another for the third."""
    rows = Rows(work=[Piece(0, 10, process=n) for n in range(3)], threads=[0, 1, 2])
    path = tmp_path / "report.sqlite"
    write_nsys(path, rows)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE TARGET_INFO_CUDA_DEVICE (gpuId INTEGER, cudaId INTEGER, pid INTEGER)")
        database.execute("CREATE TABLE TARGET_INFO_GPU (id INTEGER, name TEXT)")
        database.executemany("INSERT INTO TARGET_INFO_CUDA_DEVICE VALUES (?, 0, ?)", [(0, 100), (0, 101), (1, 102)])
        database.executemany("INSERT INTO TARGET_INFO_GPU VALUES (?, ?)", [(0, "NVIDIA A"), (1, "NVIDIA B")])
    devices = summary(read_events(path)).devices
    assert [(device.gpu, device.name, device.kernels) for device in devices] == [
        ("0", "NVIDIA A", 2),
        ("1", "NVIDIA B", 1),
    ]


def test_a_missing_column_is_a_gap_with_a_name(tmp_path: Path) -> None:
    write_nsys(tmp_path / "report.sqlite", Rows(work=[Piece(1, 2)], calls=[Call(0, 1)]))
    with contextlib.closing(sqlite3.connect(tmp_path / "report.sqlite")) as database, database:
        database.execute("ALTER TABLE CUPTI_ACTIVITY_KIND_RUNTIME DROP COLUMN end")
        database.execute("ALTER TABLE CUPTI_ACTIVITY_KIND_KERNEL DROP COLUMN demangledName")
    record = summary(read_events(tmp_path / "report.sqlite"))
    assert [note.text for note in record.notes] == ["CUPTI_ACTIVITY_KIND_RUNTIME has no column end: it is not read."]
    assert [row.name for row in record.kernels] == ["short"]
    assert record.devices[0].busy_ns == 1


def test_whole_graphs_are_work_of_their_own_kind(tmp_path: Path) -> None:
    rows = Rows(
        work=[Piece(0, 10, kind=GRAPH, correlation=1), Piece(20, 25, kind=KERNEL)], calls=[Call(-5, -1, correlation=1)]
    )
    write_nsys(tmp_path / "report.sqlite", rows)
    record = summary(read_events(tmp_path / "report.sqlite"))
    assert [(row.name, row.category, row.total_ns) for row in record.kernels] == [
        ("[CUDA graph]", "CUDA graph, traced whole", 10),
        ("gemm", "GEMM", 5),
    ]
    assert (record.graphs.whole, record.devices[0].graphs, record.devices[0].busy_ns) == (1, 1, 15)
    assert any("--cuda-graph-trace=node" in note.text for note in record.notes)


def test_numbers_that_torch_adds_to_names_are_left_out(tmp_path: Path) -> None:
    spans = [Span(10 * n, 10 * n + 5, name=f"aten::mm, seq = {n}, op_id = {n}", kind=PUSH_POP) for n in range(3)]
    for inline in (False, True):
        write_nsys(tmp_path / "report.sqlite", Rows(spans=spans), inline=inline)
        (row,) = summary(read_events(tmp_path / "report.sqlite")).ranges
        assert (row.name, row.occurrences, row.host_ns) == ("aten::mm", 3, 15)


def test_a_range_that_never_ended_lasts_to_the_end(tmp_path: Path) -> None:
    tables: dict[str, list[object]] = {
        "NVTX_EVENTS": [(5, None, 59, "decode", global_tid(0), None, 0)],
        "CUPTI_ACTIVITY_KIND_KERNEL": [(40, 60, 0, 7, None, global_tid(0), 10, 10)],
    }
    write_tables(tmp_path / "report.sqlite", tables, {"gemm": 10})  # type: ignore[arg-type]
    record = summary(read_events(tmp_path / "report.sqlite"))
    assert record.phase_host_ns == {"decode": 55}


def test_what_is_no_export_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").write_bytes(b"SQLite format 3\0" + b"junk" * 100)
    with pytest.raises(StageError, match="not a readable nsys export"):
        read_events(tmp_path / "a.sqlite")
    with contextlib.closing(sqlite3.connect(tmp_path / "b.sqlite")) as database, database:
        database.execute("CREATE TABLE t (a)")
    with pytest.raises(StageError, match="no export of nsys"):
        read_events(tmp_path / "b.sqlite")


def test_operators_are_not_in_such_files(tmp_path: Path) -> None:
    write_nsys(tmp_path / "report.sqlite", Rows(spans=[Span(0, 10, kind=PUSH_POP)], calls=[Call(1, 2)]))
    events = read_events(tmp_path / "report.sqlite")
    assert not (events.ranges.kind == OPERATOR).any()
    assert summary(events).operators == ()


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        (
            "CREATE VIEW NVTX_EVENTS AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) "
            "SELECT x AS start, x AS end, 59 AS eventType FROM n",
            "view 'NVTX_EVENTS'",
        ),
        ("CREATE TRIGGER t AFTER DELETE ON StringIds BEGIN INSERT INTO StringIds VALUES (1, 'x'); END", "trigger 't'"),
    ],
)
def test_an_export_that_is_a_program_is_refused(tmp_path: Path, program: str, kind: str) -> None:
    path = tmp_path / "run.sqlite"
    write_tables(path, {}, {})
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(program)
    for reads in (read_events, is_export):
        with pytest.raises(StageError, match=f"holds the {kind}"):
            reads(path)


def test_a_value_that_is_computed_and_larger_than_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    write_tables(path, {}, {})
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP TABLE StringIds")
        database.execute("CREATE TABLE StringIds (id INTEGER, value AS (zeroblob(id * 1000000000)))")
        database.execute("INSERT INTO StringIds VALUES (1)")
    with contextlib.closing(open_database(path)) as database, pytest.raises(sqlite3.Error, match="too big"):
        database.execute("SELECT value FROM StringIds").fetchall()


def test_a_call_without_a_thread_is_no_call_of_the_last_one(tmp_path: Path) -> None:
    """A correlation is a process's own: where the process is not known, nothing was launched by the call."""
    tables: dict[str, list[Sequence[Any]]] = {name: [] for name in TABLES}
    tables["CUPTI_ACTIVITY_KIND_KERNEL"] = [(1500, 2500, 0, 7, 4, global_tid(0), 1, 1)]
    tables["CUPTI_ACTIVITY_KIND_RUNTIME"] = [(1000, 1010, "no number", 4, 2)]
    ranges: list[Sequence[Any]] = [(900, 1100, 59, "decode", global_tid(0), None, 0)]
    for tables["NVTX_EVENTS"] in (ranges, []):
        write_tables(tmp_path / "run.sqlite", tables, {"k": 1})
        events = read_events(tmp_path / "run.sqlite")
        call, ambiguous = calls_of(events)
        assert (call.tolist(), ambiguous) == ([-1], 0)
