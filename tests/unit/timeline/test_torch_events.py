"""Reading traces of torch.profiler: what was written comes back, fast or slow, in pieces of any size."""

from __future__ import annotations

import dataclasses
import gzip
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.timeline.summary import summary
from llm_perf_opt.captures.timeline import analyse
from llm_perf_opt.errors import MissingError, StageError
from llm_perf_opt.formats import json_chunks, torch_events, trace_json
from llm_perf_opt.formats.torch_events import read_events
from llm_perf_opt.records.columns import COPY, GRAPH, KERNEL, PUSH_POP, Events
from tests.unit.timeline.build import Rows, Span
from tests.unit.timeline.files import exact, trace_events, write_trace
from tests.unit.timeline.strategies import time_lines
from tests.unit.timeline.test_nsys_events import figures


def as_trace(rows: Rows) -> Rows:
    """As a trace can hold it: one process, no graphs, waits or domains; a device says what ran on it."""
    names = {COPY: "Memcpy HtoD (Pageable -> Device)"}
    kept = [piece for piece in rows.work if piece.kind != GRAPH and piece.end >= piece.start]
    work = [dataclasses.replace(piece, process=0, name=names.get(piece.kind, piece.name)) for piece in kept]
    spans = [dataclasses.replace(span, domain=None) for span in rows.spans]
    return dataclasses.replace(rows, work=work, spans=spans, waits=[], threads=[0] * len(rows.threads))


def read(folder: Path, text: bytes, name: str = "trace.json") -> Events:
    path = folder / name
    path.write_bytes(text)
    return read_events(path)


@given(
    rows=time_lines(), piece=st.sampled_from([1, 300, 1 << 20]), slow=st.booleans(), indent=st.sampled_from([None, 1])
)
def test_a_trace_says_what_was_written(rows: Rows, piece: int, slow: bool, indent: int | None) -> None:
    rows = as_trace(dataclasses.replace(rows, spans=[*rows.spans, Span(1, 2)]))
    around = {"deviceProperties": [{"id": 0, "name": "GPU"}, {"id": 1, "name": "GPU"}]}
    before = {"schemaVersion": 1, **around, "traceEvents": trace_events(rows)}
    text = json.dumps({**before, "tail": [{"a": 1}, {"b": [{}]}], "NaN": float("nan") if slow else 0}, indent=indent)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_chunks, "PIECE_BYTES", piece)
        if slow:
            patch.setattr(trace_json, "FAILURES_UNTIL_SLOW", 0)
        found = figures(read(Path(folder), text.encode()))
    expected = figures(rows.events())
    assert found == expected


ODD = {
    "NaN": (b'"dur": 1', b'"dur": 1, "x": NaN', "NaN or Infinity"),
    "infinity": (b'"dur": 1', b'"dur": 1, "x": [-Infinity, Infinity]', "NaN or Infinity"),
    "control": (b"aten::mm", b"aten::\x01mm", "control characters"),
    "bytes": (b"aten::mm", b"aten::\xff\xfemm", "no UTF-8"),
    "text": (b'"ts": 100', b'"ts": "100"', "times as text"),
    "half a character": (b"aten::mm", b"aten::\\ud800mm", "halves of characters"),
    "half a process": (b'"pid": 1', b'"pid": "\\uDFFF"', "halves of characters"),
    "half a device": (b'{"schemaVersion"', b'{"deviceProperties": [{"id": 0, "name": "\\ud83d"}], "schemaVersion"', ""),
    "mark": (b'{"schemaVersion"', b'\xef\xbb\xbf{"schemaVersion"', "byte-order mark"),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("packed", [False, True])
def test_what_the_trades_tools_accept_is_read_and_said(tmp_path: Path, name: str, packed: bool) -> None:
    events = [
        {"ph": "X", "cat": "cpu_op", "name": "aten::mm", "pid": 1, "tid": 1, "ts": 100, "dur": 1},
        {"ph": "X", "cat": "kernel", "name": "gemm", "pid": 0, "tid": 7, "ts": 200, "dur": 10},
    ]
    text = json.dumps({"schemaVersion": 1, "traceEvents": events}).encode()
    old, new, said = ODD[name]
    assert old in text
    text = text.replace(old, new, 1)
    found = read(tmp_path, gzip.compress(text) if packed else text)
    assert (found.work.end_ns - found.work.start_ns).tolist() == [10_000]
    assert found.ranges.start_ns.tolist() == [100_000]
    assert [note.count >= 1 for note in found.notes if said and said in note.text] == [True] * bool(said)
    analyse(found, "trace.json").record.model_dump_json()


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize(
    "time", ["1682725898236567.123", "6520430064204.583", "9007199254740.993", "0.001", "12", "1428625746277.1255"]
)
def test_times_are_exact_to_the_nanosecond(
    tmp_path: Path, time: str, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if slow:
        monkeypatch.setattr(trace_json, "FAILURES_UNTIL_SLOW", 0)
    text = f'[{{"ph": "X", "cat": "kernel", "name": "k", "ts": {time}, "dur": 1.001}}]'
    found = read(tmp_path, text.encode())
    assert abs(int(found.work.start_ns[0]) - exact(time)) <= (1 if len(time.partition(".")[2]) > 3 else 0)
    assert found.work.end_ns[0] - found.work.start_ns[0] == 1001


@pytest.mark.parametrize("depth", [20_000, 1_000_000])
@pytest.mark.parametrize("packed", [False, True])
def test_deep_nesting_is_refused(tmp_path: Path, depth: int, packed: bool) -> None:
    start = b'{"traceEvents":[{"ph":"X","cat":"kernel","name":"k","ts":1,"dur":1,"args":'
    text = start + b"[" * depth + b"]" * depth + b"}]}"
    with pytest.raises(StageError, match="nested too deep"):
        read(tmp_path, gzip.compress(text) if packed else text)


@pytest.mark.parametrize("at", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("harm", ['"ts" 1', '"name": "', "]", '"args": ' + "[" * 5000, "\\x01"])
def test_damage_in_the_middle_is_found_without_reading_all_before_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: float, harm: str
) -> None:
    events = [json.dumps({"ph": "X", "cat": "cpu_op", "name": "a", "ts": number, "dur": 1}) for number in range(2000)]
    events[int(at * 2000)] = f"{{{harm}"
    read_bytes = []
    lenient = trace_json._lenient

    def counted(text: bytes, odd: Counter[str]) -> Any:
        read_bytes.append(len(text))
        return lenient(text, odd)

    monkeypatch.setattr(trace_json, "_lenient", counted)
    monkeypatch.setattr(json_chunks, "PIECE_BYTES", 1 << 12)
    text = f'{{"traceEvents": [{", ".join(events)}]}}'.encode()
    with pytest.raises(StageError, match="cannot be read as a trace"):
        read(tmp_path, text)
    assert sum(read_bytes) < 8 * len(text)


CUT = [
    b'{"traceEvents": [{"ph": "X"}',
    b'{"traceEvents": [{"ph": "X"}]',
    b'{"traceEvents": [{"ph": "X"}]} x',
    b"{}",
    b"[1, 2",
    b"",
]


@pytest.mark.parametrize("text", CUT)
def test_what_is_cut_off_or_no_trace_is_refused(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(StageError, match="cannot be read as a trace"):
        read(tmp_path, text)


def test_ranges_that_are_all_damaged_are_counted(tmp_path: Path) -> None:
    damaged = [{"ph": "X", "cat": "cpu_op", "name": "aten::mm", "pid": 1, "tid": 1, "ts": at} for at in range(3)]
    found = read(tmp_path, json.dumps({"traceEvents": damaged}).encode())
    assert len(found.ranges.start_ns) == 0
    assert [note.count for note in found.notes] == [3]


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError):
        read_events(tmp_path / "nothing.json")


def test_an_archive_that_unfolds_too_far_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_chunks, "ALWAYS_ALLOWED_BYTES", 1 << 16)
    with pytest.raises(StageError, match="unfolds to more than"):
        read(tmp_path, gzip.compress(b"[" + b" " * (1 << 24) + b"]"))


def test_a_string_without_an_end_is_not_collected_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_chunks, "MOST_BETWEEN_EVENTS_BYTES", 1 << 16)
    monkeypatch.setattr(json_chunks, "PIECE_BYTES", 1 << 12)
    with pytest.raises(StageError, match="cannot be read as a trace"):
        read(tmp_path, b'{"traceEvents": [{"name": "' + b"x" * (1 << 20))


def test_what_is_no_event_is_left_out_and_counted(tmp_path: Path) -> None:
    good = {"ph": "X", "cat": "cpu_op", "name": "a", "pid": 1, "tid": 1, "ts": 1, "dur": 2}
    bad: list[Any] = [None, 3, {**good, "name": None}, {**good, "ts": None}, {**good, "dur": -1}, {**good, "ts": True}]
    write_trace(tmp_path / "trace.json", [good, *bad, good])
    found = read_events(tmp_path / "trace.json")
    assert len(found.ranges) == 2
    assert [note.count for note in found.notes] == [4]


def test_both_ways_agree_on_recorded_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = [
        {"ph": "X", "cat": "Kernel", "name": "k", "pid": 2, "tid": "stream 7", "ts": 5, "dur": 1,
         "args": {"stream": "7"}},
        {"ph": "X", "cat": "gpu_memcpy", "name": "Memcpy HtoD (Pinned -> Device)", "pid": 0, "tid": 7, "ts": 1.5,
         "dur": 2, "args": {"bytes": 10, "correlation": -1, "External id": None}},
        {"ph": "X", "cat": "cuda_sync", "name": "Stream Sync", "pid": 0, "tid": 7, "ts": 1, "dur": 2,
         "args": {"cuda_sync_kind": "Stream Sync", "stream": 7, "device": 0}},
        {"ph": "X", "cat": "Trace", "name": "PyTorch Profiler (0)", "pid": "Spans", "tid": "x", "ts": 0, "dur": 99},
    ]  # fmt: skip
    write_trace(
        tmp_path / "trace.json", events, distributedInfo={"rank": 3, "world_size": 8}, cuda_runtime_version=12090
    )
    one = read_events(tmp_path / "trace.json")
    monkeypatch.setattr(trace_json, "FAILURES_UNTIL_SLOW", 0)
    other = read_events(tmp_path / "trace.json")
    for table in ("work", "calls", "ranges", "waits"):
        for name in getattr(one, table).__dataclass_fields__:
            assert getattr(getattr(one, table), name).tolist() == getattr(getattr(other, table), name).tolist()
    assert (one.about.rank, one.about.world_size, one.about.cuda, one.recording_ns) == (3, 8, "12.9", (0, 99_000))
    copy = summary(one).copies[0]
    assert (copy.direction, copy.source, copy.target, copy.bytes) == ("host to device", "pinned", "device", 10)


def test_ids_of_two_processes_of_one_trace_are_not_mixed_up(tmp_path: Path) -> None:
    """Kernels do not say their process: an id that both use stands for neither call."""
    events: list[dict[str, Any]] = []
    for pid in (1, 2):
        host: dict[str, Any] = {"ph": "X", "pid": pid, "tid": 1}
        events.append({**host, "cat": "cpu_op", "name": f"aten::of{pid}", "ts": 10, "dur": 50})
        shared, own = {"correlation": 5}, {"correlation": 10 + pid}
        events.append({**host, "cat": "cuda_runtime", "name": "cudaLaunchKernel", "ts": 20, "dur": 5, "args": shared})
        events.append({**host, "cat": "cuda_runtime", "name": "cudaLaunchKernel", "ts": 30, "dur": 5, "args": own})
    device: dict[str, Any] = {"ph": "X", "cat": "kernel", "name": "gemm", "pid": 0, "tid": 7, "dur": 1}
    events += [{**device, "ts": 100 + number, "args": {"correlation": number}} for number in (5, 11, 12)]
    write_trace(tmp_path / "trace.json", events)
    record = summary(read_events(tmp_path / "trace.json"))
    assert {row.name: row.device_ns for row in record.operators if row.device_ns} == {
        "aten::of1": 1000,
        "aten::of2": 1000,
    }
    assert sum(row.total_ns for row in record.unattributed) == 1000
    assert any("calls of several processes" in note.text for note in record.notes)


def test_external_ids_link_what_no_call_does_and_old_ones_do_not(tmp_path: Path) -> None:
    def events(ids: dict[str, int]) -> list[dict[str, Any]]:
        operator = {"ph": "X", "cat": "cpu_op", "name": "aten::mm", "pid": 1, "tid": 1, "ts": 0, "dur": 9}
        kernel = {"ph": "X", "cat": "kernel", "name": "gemm", "pid": 0, "tid": 7, "ts": 20, "dur": 1}
        return [{**operator, "args": {"External id": 7}}, {**kernel, "args": ids}]

    write_trace(tmp_path / "new.json", events({"External id": 7, "correlation": 3}))
    write_trace(tmp_path / "old.json", events({"External id": 7, "correlation": 7}))
    assert summary(read_events(tmp_path / "new.json")).attributed_device_ns == 1000
    assert summary(read_events(tmp_path / "old.json")).attributed_device_ns == 0


def test_kinds_of_events() -> None:
    assert torch_events.is_device_api("cuda_runtime")
    assert torch_events.is_device_api("hip_driver")
    assert not torch_events.is_device_api("cpu_op")
    assert (KERNEL, PUSH_POP) == (0, 0)
