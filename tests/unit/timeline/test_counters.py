"""Counters of an nsys export, by phase and step, against a plain count.

The tables are those of the schema in nsys's user guide (2023.4, "SQLite Schema Reference"); names of metrics are those
of its metric sets for GH100 and TU10x.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.timeline.summary import summary
from llm_perf_opt.formats.nsys_events import read_events
from llm_perf_opt.records.columns import ANNOTATION, DRAM_READ, DRAM_WRITE, SM_ACTIVE, TENSOR_ACTIVE, Counters
from llm_perf_opt.records.device_timeline import CounterMeans, DeviceTimeline
from tests.unit.timeline.build import Piece, Rows, Span, _column, _small
from tests.unit.timeline.files import write_nsys

NAMES = {
    1: "GPC Clock Frequency [MHz]",
    4: "SM Active [Throughput %]",
    5: "Tensor Active [Throughput %]",
    6: "DRAM Read Bandwidth [Throughput %]",
    7: "DRAM Write Bandwidth [Throughput %]",
    8: "Compute Warps in Flight [Throughput %]",
    9: "SM Active [Avg]",
}
OLD_NAMES = {4: "SMs Active", 5: "Tensor Active / FP16 Active", 6: "DRAM Read Throughput", 7: "DRAM Write Throughput"}
GPU_0 = 1152921504606846976  # a typeId as recorded: the GPU is its low byte
ROWS = Rows(
    work=[Piece(100, 900)],
    spans=[
        Span(100, 500, name="prefill", kind=ANNOTATION),
        Span(500, 900, name="decode", kind=ANNOTATION),
        Span(500, 700, name="step[0]", kind=ANNOTATION),
    ],
)
Sample = tuple[int | None, int, int]
"""(timestamp, metricId, value)."""


def export(
    tmp_path: Path, samples: Sequence[Sample], names: dict[int, str] = NAMES, kind: int = GPU_0, more: str = ""
) -> DeviceTimeline:
    path = tmp_path / "x.sqlite"
    write_nsys(path, ROWS)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "CREATE TABLE TARGET_INFO_GPU_METRICS (typeId INTEGER NOT NULL, sourceId INTEGER NOT NULL, "
            "typeName TEXT NOT NULL, metricId INTEGER NOT NULL, metricName TEXT NOT NULL)"
        )
        database.execute(
            "CREATE TABLE GPU_METRICS (timestamp INTEGER, typeId INTEGER NOT NULL, metricId INTEGER NOT NULL, "
            "value INTEGER NOT NULL)"
        )
        described = [(kind, 0, "General Metrics", metric, name) for metric, name in names.items()]
        database.executemany("INSERT INTO TARGET_INFO_GPU_METRICS VALUES (?, ?, ?, ?, ?)", described)
        rows = [(time, kind, metric, value) for time, metric, value in samples]
        database.executemany("INSERT INTO GPU_METRICS VALUES (?, ?, ?, ?)", rows)
        database.executescript(more)
    return summary(read_events(path))


def of(record: DeviceTimeline, window: str, name: str) -> CounterMeans:
    (found,) = [row for row in record.counters if (row.window, row.name) == (window, name)]
    return found


@pytest.mark.parametrize("names", [NAMES, OLD_NAMES])
def test_means_by_phase_and_step(tmp_path: Path, names: dict[int, str]) -> None:
    samples: list[Sample] = [
        *((time, 4, value) for time, value in ((50, 100), (150, 40), (450, 60), (500, 80), (800, 0), (900, 100))),
        *((time, 5, 10) for time in (150, 600)),
        *((time, metric, 7) for time in (150, 600) for metric in (6, 7)),
        *((time, metric, 99) for time in (150, 600) for metric in (1, 8, 9)),
        (None, 4, 99),
    ]
    found = export(tmp_path, samples, names)
    expected = {"device": 0, "tensor_active_percent": 10.0, "dram_percent": 14.0}
    for window, name, count, active in (
        ("device", "capture", 4, 45.0),
        ("phase", "prefill", 2, 50.0),
        ("phase", "decode", 2, 40.0),
        ("steps", "decode step", 1, 80.0),
    ):
        row = of(found, window, name)
        assert (row.samples, row.sm_active_percent) == (count, active)
        assert row.model_dump(include=set(expected)) == expected
    assert not [note for note in found.notes if "sample" in note.text]


def test_what_was_not_sampled_is_null(tmp_path: Path) -> None:
    row = of(export(tmp_path, [(200, 4, 30), (200, 6, 5)]), "phase", "prefill")
    assert (row.sm_active_percent, row.tensor_active_percent, row.dram_percent) == (30.0, None, None)


def test_no_row_where_no_sample_is(tmp_path: Path) -> None:
    assert [row.name for row in export(tmp_path, [(200, 4, 30)]).counters] == ["capture", "prefill"]
    assert export(tmp_path, []).counters == ()


def test_samples_that_cannot_be_placed_or_be_are_said(tmp_path: Path) -> None:
    device = "CREATE TABLE TARGET_INFO_CUDA_DEVICE (gpuId INTEGER, cudaId INTEGER, pid INTEGER, uuid TEXT);"
    device += "INSERT INTO TARGET_INFO_CUDA_DEVICE VALUES (3, 0, 100, 'GPU-3');"
    samples: list[Sample] = [(200, 4, 30), (210, 4, 999)]
    here = export(tmp_path, samples, kind=GPU_0 + 3, more=device)
    assert of(here, "phase", "prefill").sm_active_percent == 30.0
    assert [note.count for note in here.notes if "no percentage" in note.text] == [1]
    elsewhere = export(tmp_path, samples, kind=GPU_0 + 2, more=device)
    assert elsewhere.counters == ()
    assert [note.count for note in elsewhere.notes if "did no recorded work" in note.text] == [1]


COUNTERS = (SM_ACTIVE, TENSOR_ACTIVE, DRAM_READ, DRAM_WRITE)
SAMPLES = st.lists(st.tuples(st.integers(0, 60), st.sampled_from(COUNTERS), st.integers(0, 100)), max_size=30)
WINDOWS = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20)), min_size=1, max_size=4)


@given(SAMPLES, WINDOWS)
def test_against_a_plain_count(samples: list[tuple[int, int, int]], windows: list[tuple[int, int]]) -> None:
    spans = [Span(start, start + length, name="decode", kind=ANNOTATION) for start, length in windows]
    events = Rows(work=[Piece(100, 105)], spans=spans).events()
    rows = [dict(zip(("time", "counter", "percent"), sample, strict=True)) for sample in samples]
    named = [type("Row", (), row) for row in rows]
    zeros = _small(0 for _ in rows)
    events.counters = Counters(
        _column(named, "time"), zeros, _column(named, "counter").astype("int8"), _column(named, "percent")
    )
    found = [row for row in summary(events).counters if row.window == "phase"]
    inside = {
        counter: [
            value
            for time, kind, value in samples
            if kind == counter and any(start <= time < start + length for start, length in windows)
        ]
        for counter in COUNTERS
    }
    if not any(inside.values()):
        assert found == []
        return
    (row,) = found
    means = {counter: fmean(values) if values else None for counter, values in inside.items()}
    assert row.samples == max(map(len, inside.values()))
    assert row.sm_active_percent == (None if means[SM_ACTIVE] is None else pytest.approx(means[SM_ACTIVE]))
    both = (means[DRAM_READ], means[DRAM_WRITE])
    assert row.dram_percent == (None if None in both else pytest.approx(sum(value or 0 for value in both)))
