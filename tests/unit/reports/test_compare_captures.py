"""Imported runs side by side: tables, times of a step, and no verdict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given

from llm_perf_opt.analysis.capture_changes import TOP, part_changes, table_changes
from llm_perf_opt.analysis.timeline.summary import summary
from llm_perf_opt.cli import main as cli
from llm_perf_opt.importing.execute import import_files, plan_import
from llm_perf_opt.records.capture_comparison import CaptureComparison
from tests.unit.importing.test_import import RAW, Quiet, export, made
from tests.unit.timeline.build import Rows
from tests.unit.timeline.example import EVENTS, event
from tests.unit.timeline.strategies import time_lines


def imported(tmp_path: Path, name: str, *files: Path) -> Path:
    import_files(plan_import(files, tmp_path, tmp_path / name), ["llmperf", "import"], Quiet())
    return tmp_path / name


def trace(tmp_path: Path, name: str, *, steps: int, gemm_us: float) -> Path:
    more = [event("user_annotation", f"ProfilerStep#{n}", 3000.0 + 100 * n, 10.0 * steps) for n in range(steps)]
    events = [{**row, "dur": gemm_us} if row.get("name") == "gemm" else row for row in EVENTS]
    return made(tmp_path, name, json.dumps([*events, *more]))


def compared(capsys: pytest.CaptureFixture[str], *argv: str | Path, code: int = 0) -> CaptureComparison:
    with pytest.raises(SystemExit) as ended:
        cli.main(["compare", *map(str, argv), "--json"])
    assert ended.value.code == code
    return CaptureComparison.model_validate_json(capsys.readouterr().out)


def test_two_traces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = imported(tmp_path, "a", trace(tmp_path, "x", steps=2, gemm_us=40.0))
    b = imported(tmp_path, "b", trace(tmp_path, "y", steps=3, gemm_us=60.0))
    found = compared(capsys, a, b)
    assert found.verdict is None
    tables = {table.kind: table for table in found.tables}
    first = tables["kernels"].rows[0]
    assert (first.phase, first.name, first.time_ns_a, first.time_ns_b) == ("decode", "gemm", 40_000, 60_000)
    assert (tables["operators on the device"].rows[0].name, tables["ranges"].rows[0].change_ns) == ("aten::mm", 20_000)
    (rate,) = found.rates
    assert (rate.name, rate.steps_a, rate.steps_b, rate.mean_ns_a, rate.mean_ns_b) == (
        "ProfilerStep", 2, 3, 20_000, 30_000
    )  # fmt: skip
    assert rate.change_percent == pytest.approx(50.0)
    assert any("different numbers of steps (ProfilerStep)" in note for note in found.notes)
    with pytest.raises(SystemExit):
        cli.main(["compare", str(a), str(b), "--output", str(tmp_path / "out")])
    assert "No verdict" in capsys.readouterr().out
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        f"comparison.{kind}" for kind in ("md", "html", "json")
    }


def test_a_trace_and_an_export_go_by_short_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = imported(tmp_path, "a", trace(tmp_path, "x", steps=1, gemm_us=40.0))
    b = imported(tmp_path, "b", export(tmp_path / "y", [("gemm", 10)]), export(tmp_path / "z", [("gemm", 30)]))
    found = compared(capsys, a, b, "--fail-if", "e2e.latency_ms > 1", code=5)
    (kernels, *_) = found.tables
    assert kernels.by_short_name
    assert {(row.phase, row.name): (row.calls_a, row.calls_b) for row in kernels.rows}["outside", "gemm"] == (0, 2)
    assert found.b.sources == ("y", "z")


def test_what_has_no_time_line_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = imported(tmp_path, "a", trace(tmp_path, "x", steps=1, gemm_us=40.0))
    b = imported(tmp_path, "b", made(tmp_path, "raw.csv", RAW))
    with pytest.raises(SystemExit) as ended:
        cli.main(["compare", str(a), str(b)])
    assert ended.value.code == 3
    assert "B (" in capsys.readouterr().err


@given(time_lines(), time_lines())
def test_tables_add_up_and_turn_round(one: Rows, other: Rows) -> None:
    a, b = [summary(one.events())], [summary(other.events())]
    for part, turned in zip(part_changes(a, b), part_changes(b, a), strict=True):
        assert (part.time_ns_a, part.time_ns_b) == (turned.time_ns_b, turned.time_ns_a)
    backwards = {table.kind: table for table in table_changes(b, a, short=False)}
    for table in table_changes(a, b, short=False):
        assert len(table.rows) <= TOP
        assert {(row.phase, row.name, row.change_ns) for row in table.rows} == {
            (row.phase, row.name, -row.change_ns) for row in backwards[table.kind].rows
        }
        if table.kind == "kernels" and not table.rows_left_out:
            assert sum(row.time_ns_a for row in table.rows) == sum(row.total_ns for line in a for row in line.kernels)
