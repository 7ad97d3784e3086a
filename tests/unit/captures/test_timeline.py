"""What a capture leaves: the record, the table of device work, and the keys that scripts read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pyarrow import parquet

from llm_perf_opt.captures.timeline import UNITS, analyse, write_timeline
from llm_perf_opt.captures.top_kernels import top_kernels
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.formats.torch_events import read_events
from llm_perf_opt.records.columns import About
from llm_perf_opt.records.device_timeline import DeviceTimeline
from llm_perf_opt.records.kernels import Choice
from tests.unit.timeline.build import Call, Piece, Rows, Span
from tests.unit.timeline.example import EVENTS
from tests.unit.timeline.files import write_trace

DEVICE_KEYS = {
    "gpu", "name", "wall_ns", "busy_ns", "compute_ns", "communication_ns", "exposed_communication_ns", "copy_ns",
    "exposed_copy_ns", "idle_ns", "idle_by_cause",
}  # fmt: skip


def test_the_record_and_the_table_are_read_back(tmp_path: Path) -> None:
    rows = Rows(
        work=[Piece(10, 20, correlation=1), Piece(30, 30), Piece(40, 45, name="other", correlation=9)],
        calls=[Call(1, 3, correlation=1)],
        spans=[Span(0, 5, name="decode"), Span(0, 4)],
    )
    captured = analyse(rows.events(), "file")
    write_timeline(captured, tmp_path)
    assert DeviceTimeline.read(tmp_path / "timeline.json") == captured.record
    table = parquet.read_table(tmp_path / "timeline.parquet")
    assert {field.name: field.metadata[b"unit"].decode() for field in table.schema} == UNITS
    found = table.to_pydict()
    assert found["name"] == ["gemm", "gemm", "other"]
    assert found["trusted"] == [True, False, True]
    assert found["launch_start_ns"] == [1, None, None]
    assert (found["launched_in"], found["phase"]) == (["aten::mm", None, None], ["decode", "outside", "outside"])


def test_the_table_is_written_in_groups_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llm_perf_opt.captures.timeline.ROWS_AT_ONCE", 2)
    write_timeline(analyse(Rows(work=[Piece(10 * n, 10 * n + 5) for n in range(5)]).events(), "file"), tmp_path, 3)
    file = parquet.ParquetFile(tmp_path / "timeline.3.parquet")
    assert (file.num_row_groups, file.read().column("start_ns").to_pylist()) == (3, [0, 10, 20, 30, 40])


def test_keys_that_scripts_read() -> None:
    record = analyse(Rows(work=[Piece(0, 5)]).events(), "file").record.summary()
    assert set(record["devices"][0]) >= DEVICE_KEYS
    assert set(record) >= {"devices", "phases", "steps", "gaps", "categories", "copies", "graphs"}
    assert set(record["graphs"]) >= {"kernels", "joined", "abstained"}
    json.dumps(record)


def test_secrets_of_a_command_line_are_hidden() -> None:
    events = Rows(work=[Piece(0, 5)]).events()
    events.about = About(command=("serve", "--api-key", "s3cret", "HF_TOKEN=s3cret"))
    assert "s3cret" not in analyse(events, "file").record.model_dump_json()


def test_the_kernels_of_a_trace_by_phase(tmp_path: Path) -> None:
    write_trace(tmp_path / "trace.json", EVENTS)
    assert read_events(tmp_path / "trace.json").about.tool == "torch.profiler"
    found = top_kernels(tmp_path / "trace.json", 10)
    assert [(row.name, row.launches) for row in found.kernels] == [("gemm", 1), ("graphed", 1)]
    assert [row.name for row in top_kernels(tmp_path / "trace.json", 10, Choice(phase="decode")).kernels] == ["gemm"]
    with pytest.raises(ConfigError, match="no kernels of it"):
        top_kernels(tmp_path / "trace.json", 10, Choice(phase="prefill"))
