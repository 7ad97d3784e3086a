"""The table of a sweep: figures, intervals, bounds, the front, and its forms."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.front import Mark, on_front
from llm_perf_opt.analysis.launches import over_launches
from llm_perf_opt.records.sweep import LATENCY, THROUGHPUT, SweepResults
from llm_perf_opt.reports.markdown import to_markdown
from llm_perf_opt.reports.sweep import sweep_document, to_csv, write_sweep
from llm_perf_opt.sweep.directory import SweepDirectory
from llm_perf_opt.sweep.results import read_results
from tests.records import batch, measured, repeat, workload
from tests.unit.sweep.leaving import OOM, leave, leave_figures, point, task

MARKS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 4), st.integers(0, 4)), max_size=12)


@given(MARKS)
def test_the_front_is_what_no_other_beats(found: list[tuple[str, int, int]]) -> None:
    marks = [Mark(str(at), work, latency, throughput) for at, (work, latency, throughput) in enumerate(found)]

    def beats(one: Mark, other: Mark) -> bool:
        better = one.latency < other.latency or one.throughput > other.throughput
        return one.work == other.work and better and one.latency <= other.latency and one.throughput >= other.throughput

    assert on_front(marks) == {mark.id for mark in marks if not any(beats(other, mark) for other in marks)}


@pytest.fixture
def swept(tmp_path: Path) -> SweepDirectory:
    """Batches 1, 2 and 8: the second measured twice, the third too large; 16 was not tried."""
    directory = SweepDirectory(tmp_path / "sweep")
    directory.open([point(size) for size in (1, 2, 8, 16)], launches=2, argv=["llmperf"])
    one = repeat()  # 5 tokens in 70 ms, four steps in 20 ms
    two = repeat(e2e_ms=100.0, new_tokens=(5, 5))
    for done, runs in ((task(1), [one] * 6), (task(2), [two] * 6), (task(2, launch=2), [two, repeat(e2e_ms=140.0)])):
        record = workload(batch(*runs), stage="direct_inference", timings_only=True)
        leave_figures(leave(directory, done), record)
    leave(directory, task(8), status="failed", reason=OOM)
    return directory


def test_every_point_has_a_row(swept: SweepDirectory) -> None:
    results = read_results(swept)
    one, two, eight, sixteen = results.points
    assert [row.status for row in results.points] == ["open", "completed", "failed", "skipped"]
    assert (one.launches, two.launches, eight.launches) == (1, 2, 0)
    assert one.figures[LATENCY].value == 70.0
    assert (one.figures[LATENCY].interval, one.figures[LATENCY].low) == ("within one launch", 70.0)
    assert one.figures[THROUGHPUT].value == pytest.approx(5 / 0.070)
    assert two.figures[LATENCY].launches == (100.0, 120.0)
    assert (two.figures[LATENCY].value, two.figures[LATENCY].interval) == (110.0, "launches")
    assert two.figures[THROUGHPUT].launches[0] == pytest.approx(100.0)
    assert "out of memory" in (eight.reason or "")
    assert "infer.batch_size 8 of the same setting" in (sixteen.reason or "")
    assert two.runs == ("points/g-2", "points/g-2.2")


def test_bounds_are_what_the_peaks_allow_the_same_work(swept: SweepDirectory) -> None:
    row = read_results(swept).points[0]
    # tests/records.py: 1e10 FLOPs of prefill at 1e12 FLOP/s; 1e9 least bytes at 1e11 byte/s over four steps
    assert row.bounds["prefill.latency_ms"].value_ms == pytest.approx(10.0)
    assert row.bounds["decode.tpot_ms"].value_ms == pytest.approx(10.0 / 4)


def test_the_front_is_of_equal_lengths_alone(swept: SweepDirectory) -> None:
    one, two, *_ = read_results(swept).points
    assert (one.on_front, two.on_front) == (True, True)
    workload_file = swept.run_path(task(1)) / "direct_inference" / "workload.json"
    longer = json.loads(workload_file.read_text())
    longer["batches"][0]["padded_tokens"] = 999
    workload_file.write_text(json.dumps(longer))
    assert [row.on_front for row in read_results(swept).points] == [True, True, None, None]
    assert "different lengths" in to_markdown(sweep_document(read_results(swept)))


def test_all_forms_hold_the_same(swept: SweepDirectory) -> None:
    from pyarrow import parquet

    results = read_results(swept)
    files = {file.name for file in write_sweep(results, swept.path)}
    assert {"results.json", "results.csv", "results.parquet", "report.md", "report.html"} <= files
    assert SweepResults.read(swept.path / "results.json") == results
    table = parquet.read_table(swept.path / "results.parquet")
    rows = list(csv.DictReader(io.StringIO(to_csv(results))))
    assert [row["infer.batch_size"] for row in rows] == ["1", "2", "8", "16"]
    assert table.schema.field("infer.batch_size").type == "int64"
    assert table.schema.field(LATENCY).metadata == {b"unit": b"ms"}
    for row, mine in zip(table.to_pylist(), rows, strict=True):
        assert {name: "" if value is None else str(value) for name, value in row.items()} == mine
    text = (swept.path / "report.md").read_text()
    assert "Least latency: infer.batch_size=1 with 70.00 ms (95 % interval within one launch 70.00 to 70.00)." in text
    assert "infer.batch_size=16: skipped: infer.batch_size 8 of the same setting ran out of memory" in text


def test_a_run_whose_figures_are_gone_is_said(swept: SweepDirectory) -> None:
    (swept.run_path(task(2)) / "direct_inference" / "metrics.json").unlink()
    (swept.run_path(task(2, launch=2)) / "direct_inference" / "workload.json").write_text("{")
    row = read_results(swept).points[1]
    assert row.launches == 0
    assert row.status == "completed"
    assert "cannot be read" in (row.reason or "")


@pytest.mark.parametrize("rank", ["", "rank-0"], ids=["one process", "ranks"])
def test_launches_within_a_run_count_like_those_in_turn(swept: SweepDirectory, rank: str) -> None:
    """`measure.launches`: a level for each below the stage, then one for each rank; figures know of them."""
    stage = swept.run_path(task(1)) / "direct_inference"
    shutil.rmtree(stage)
    records = [workload(batch(repeat(e2e_ms=ms)), stage="direct_inference", timings_only=True) for ms in (70.0, 90.0)]
    for number, record in enumerate(records):
        place = stage / f"launch-{number:02d}" / rank
        place.mkdir(parents=True)
        (place / "workload.json").write_text(record.model_dump_json())
    pooled = over_launches([(number, measured(record).metrics) for number, record in enumerate(records)])
    (stage / "metrics.json").write_text(pooled.model_dump_json())
    row = read_results(swept).points[0]
    assert row.launches == 2
    assert row.figures[LATENCY].launches == (70.0, 90.0)
    assert (row.figures[LATENCY].value, row.figures[LATENCY].interval) == (80.0, "launches")
    assert row.figures[THROUGHPUT].launches == pytest.approx((5 / 0.070, 5 / 0.090))
    assert row.bounds["prefill.latency_ms"].value_ms == pytest.approx(10.0)
