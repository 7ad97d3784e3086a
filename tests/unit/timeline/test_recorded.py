"""Recorded files of other people: figures that were computed from them apart from this code."""

from __future__ import annotations

import contextlib
import runpy
import sqlite3
import sys
from pathlib import Path

import pytest

from llm_perf_opt.analysis.timeline.breakdown import CAUSES, HOST_CAUSES
from llm_perf_opt.analysis.timeline.summary import summary
from llm_perf_opt.errors import StageError
from llm_perf_opt.formats import nsys_events, torch_events
from llm_perf_opt.records.device_timeline import DeviceTime, DeviceTimeline


def trace(shared_data: Path, name: str) -> DeviceTimeline:
    return summary(torch_events.read_events(shared_data / "torch" / f"{name}.json.gz"))


def case(shared_data: Path, name: str) -> DeviceTimeline:
    path = shared_data.parent / "cases" / name
    reader = nsys_events if path.suffix == ".sqlite" else torch_events
    return summary(reader.read_events(path))


def ms(ns: int) -> float:
    return ns / 1e6


def late(device: DeviceTime) -> int:
    return sum(device.idle_by_cause[cause] for cause in CAUSES[HOST_CAUSES])


def test_b200(shared_data: Path) -> None:
    record = trace(shared_data, "b200-eager-vllm")
    (device,) = record.devices
    assert (ms(device.busy_ns), ms(device.wall_ns)) == pytest.approx((11.60, 84.49), abs=0.005)
    assert (ms(device.compute_ns), ms(device.communication_ns)) == pytest.approx((8.65, 2.14), abs=0.005)
    assert late(device) / device.idle_ns == pytest.approx(0.87, abs=0.005)
    talks = [row for row in record.kernels if row.category == "communication"]
    assert sorted((row.short_name.split("_")[0], row.calls) for row in talks) == [
        ("multimem", 73),
        ("ncclDevKernel", 1),
    ]
    assert record.distrusted == ()
    assert record.answer.startswith("Host-bound: the GPU was busy 13.7 % of the time; 87.3 % of the idle time")
    assert [row.name for row in record.phases] == ["prefill"]


def test_h100_qwen(shared_data: Path) -> None:
    (device,) = trace(shared_data, "h100-qwen1.5-0.5b").devices
    assert device.busy_ns / device.wall_ns == pytest.approx(0.919, abs=0.0005)
    assert device.idle_by_cause["device_turnaround"] / device.idle_ns == pytest.approx(0.43, abs=0.005)
    assert device.idle_by_cause["launch_not_recorded"] / device.idle_ns == pytest.approx(0.18, abs=0.005)


@pytest.mark.parametrize(
    ("name", "figures_ms"),
    [
        ("a100-nccl", (157.5, 660.6, 46.9, 39.6)),
        ("a100-ranks.0", (547.7, 1222.8, 396.2, 337.0)),
        ("a100-ranks.1", (580.1, 1231.2, 379.1, 303.5)),
        ("h100-owlv2", (566.8, 1078.3, 0, 0)),
    ],
)
def test_busy_and_communication(shared_data: Path, name: str, figures_ms: tuple[float, ...]) -> None:
    (device,) = trace(shared_data, name).devices
    found = (device.busy_ns, device.wall_ns, device.communication_ns, device.exposed_communication_ns)
    assert tuple(ms(ns) for ns in found) == pytest.approx(figures_ms, abs=0.06)


def test_shares(shared_data: Path) -> None:
    (graph,) = trace(shared_data, "vllm-decode-full-graph").devices
    (toy,) = trace(shared_data, "mi250-minitoy").devices
    assert graph.busy_ns / graph.wall_ns == pytest.approx(0.998, abs=0.0005)
    assert toy.busy_ns / toy.wall_ns == pytest.approx(0.017, abs=0.0005)
    owl = trace(shared_data, "h100-owlv2")
    soft = sum(row.total_ns for row in owl.categories if row.category == "softmax")
    copies = sum(row.total_ns for row in owl.copies)
    assert soft / (owl.devices[0].kernel_ns + copies) == pytest.approx(0.46, abs=0.005)


def test_a_third_of_the_device_time_of_mi300_has_no_operator(shared_data: Path) -> None:
    record = trace(shared_data, "mi300-qwen1.5-0.5b")
    rest = sum(row.total_ns for row in record.unattributed)
    assert rest / (rest + record.attributed_device_ns) == pytest.approx(0.31, abs=0.005)


def test_old_ids_name_the_operators_that_launched(shared_data: Path) -> None:
    record = trace(shared_data, "simple-add-torch2.1")
    found = {row.name: ms(row.device_ns) for row in record.operators}
    assert (found["aten::copy_"], found["aten::cudnn_convolution"]) == pytest.approx((39.1, 5.4), abs=0.05)


def test_a_trace_without_kernels_has_its_host_side(shared_data: Path) -> None:
    record = trace(shared_data, "a100-counters-no-kernels")
    assert (record.devices, record.answer) == ((), "The file holds no device work.")
    assert sum(row.calls for row in record.operators) == 375 + 8 + 1862


SQL = """
    SELECT k.deviceId, count(*), sum(k.end - k.start),
           sum(EXISTS (SELECT 1 FROM CUPTI_ACTIVITY_KIND_RUNTIME r WHERE r.correlationId = k.correlationId
                       AND r.globalTid >> 24 = k.globalPid >> 24))
    FROM CUPTI_ACTIVITY_KIND_KERNEL k GROUP BY 1 ORDER BY 1
"""


@pytest.mark.parametrize(
    "name", ["h100-2gpu-nsys2026.2", "mfu-2gpu-before-nsys2026.2", "rtx3080-two-kernels-nsys2026.1"]
)
def test_nsys_kernels_equal_those_of_sql(shared_data: Path, name: str) -> None:
    path = shared_data / "nsys" / f"{name}.sqlite"
    events = nsys_events.read_events(path)
    record = summary(events)
    with contextlib.closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as database:
        database.execute("CREATE TEMP TABLE r AS SELECT globalTid, correlationId FROM CUPTI_ACTIVITY_KIND_RUNTIME")
        expected = database.execute(SQL).fetchall()
        copies = database.execute("SELECT sum(bytes), sum(end - start) FROM CUPTI_ACTIVITY_KIND_MEMCPY").fetchone()
        union = [_union(database, device) for device, *_ in expected]
    assert [(d.ordinal, d.kernels, d.kernel_ns) for d in record.devices] == [row[:3] for row in expected]
    assert [device.busy_ns for device in record.devices] == union
    assert sum(row.calls for row in record.kernels) == sum(row[1] for row in expected)
    moved = [row for row in record.copies if row.direction != "set"]
    assert (sum(row.bytes or 0 for row in moved), sum(row.total_ns for row in moved)) == copies


def _union(database: sqlite3.Connection, device: int) -> int:
    """Busy time of a device, by a sweep in SQL."""
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    kinds = ("KERNEL", "MEMCPY", "MEMSET", "GRAPH_TRACE")
    some = [table for kind in kinds if (table := f"CUPTI_ACTIVITY_KIND_{kind}") in tables]
    rows = " UNION ALL ".join(f"SELECT start, end FROM {table} WHERE deviceId = {device}" for table in some)
    query = f"""
        WITH work AS ({rows}),
        reached AS (
            SELECT start, end, max(end) OVER earlier AS before FROM work
            WINDOW earlier AS (ORDER BY start, end ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
        )
        SELECT sum(max(0, end - max(start, coalesce(before, start)))) FROM reached
    """
    return int(database.execute(query).fetchone()[0])


def test_two_gpus_that_copy(shared_data: Path) -> None:
    path = shared_data / "nsys" / "h100-2gpu-nsys2026.2.sqlite"
    events = nsys_events.read_events(path)
    record = summary(events)
    for device in record.devices:
        assert (ms(device.compute_ns), ms(device.wall_ns)) == pytest.approx((22.4, 969), abs=0.5)
        first = next(row for row in record.copies if row.device == device.device and row.direction == "host to device")
        assert (ms(first.total_ns), (first.bytes or 0) / 1e9) == pytest.approx((920.8, 25.5), abs=0.1)
        assert device.gpu is None
    assert record.answer == "Copy-bound: copies alone took 97.0 % of the time, kernels 2.3 %."
    kernels = sum(row.calls for row in record.kernels)
    no_call = next(row for row in record.unattributed if row.reason.startswith("no call"))
    assert kernels == 3442
    assert no_call.count < kernels
    command = " ".join(record.facts.command)
    assert "dummy-secret" not in record.model_dump_json()
    assert command.startswith("bash -c pytest")


def test_every_recorded_file_is_analysed(shared_data: Path) -> None:
    for path in sorted((shared_data / "nsys").glob("*.sqlite")):
        summary(nsys_events.read_events(path))
    for path in sorted((shared_data / "torch").glob("*.json.gz")):
        record = summary(torch_events.read_events(path))
        for device in record.devices:
            assert sum(device.idle_by_cause.values()) == device.idle_ns


def test_case_old_ids(shared_data: Path) -> None:
    record = case(shared_data, "torch/old-kineto-ids.json")
    assert {row.name: row.device_ns for row in record.operators if row.name.startswith("aten")} == {
        "aten::mm": 1_000_000,
        "aten::view": 0,
    }


def test_case_host_and_device_time_apart(shared_data: Path) -> None:
    record = case(shared_data, "torch/mixed.json")
    rows = {row.name: (ms(row.self_host_ns), ms(row.device_ns)) for row in record.operators}
    assert (rows["aten::host_heavy"], rows["aten::gpu_heavy"]) == ((10, 0), (0.99, 9))
    assert record.phase_host_ns == {"decode": 12_000_000}
    assert (record.devices[0].busy_ns, record.devices[0].wall_ns) == (9_000_000, 9_000_000)
    assert [row.name for row in record.operators[:2]] == ["aten::gpu_heavy", "aten::host_heavy"]


def test_case_overlap_and_nesting(shared_data: Path) -> None:
    (row,) = case(shared_data, "torch/overlap.json").operators
    assert (row.self_host_ns <= row.total_host_ns, row.total_host_ns) == (True, 190_000)
    assert case(shared_data, "torch/x_nested.json").phase_host_ns["decode"] == 400_000


@pytest.mark.parametrize(
    ("name", "reason"), [("x_ts0", "its start or duration is zero"), ("t_overflow", "it contains a later")]
)
def test_case_times_that_cannot_be(shared_data: Path, name: str, reason: str) -> None:
    record = case(shared_data, f"torch/{name}.json")
    (row,) = record.distrusted
    assert (row.count, row.reason.startswith(reason)) == (1, True)
    assert sum(kernel.calls for kernel in record.kernels) == 3
    assert record.devices[0].wall_ns < 1_000_000


@pytest.mark.parametrize(
    ("name", "said"), [("t_lit_NaN", "NaN"), ("t_ctrl", "control"), ("t_bom", "byte-order"), ("t_strts", "text")]
)
def test_case_odd_json(shared_data: Path, name: str, said: str) -> None:
    record = case(shared_data, f"torch/{name}.json")
    assert sum(kernel.calls for kernel in record.kernels) == 4
    assert [note.count > 0 for note in record.notes if said in note.text] == [True]


def test_case_deep_nesting(shared_data: Path) -> None:
    with pytest.raises(StageError, match="nested too deep"):
        case(shared_data, "torch/deep-trace.json.gz")


def made(shared_data: Path, name: str, folder: Path) -> DeviceTimeline:
    script = shared_data.parent / "cases" / "nsys" / f"{name}.py"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(script), str(folder / "out.sqlite")])
        runpy.run_path(str(script))
    return summary(nsys_events.read_events(folder / "out.sqlite"))


def test_case_domains(shared_data: Path, tmp_path: Path) -> None:
    record = made(shared_data, "domains", tmp_path)
    assert {row.domain: row.kernel_ns for row in record.ranges} == {"alpha": 100, "beta": 900}


def test_case_visible_devices(shared_data: Path, tmp_path: Path) -> None:
    record = made(shared_data, "visible", tmp_path)
    assert [(d.gpu, d.busy_ns, d.wall_ns) for d in record.devices] == [("GPU-a", 2000, 3000), ("GPU-b", 2000, 3000)]


def test_case_graphs_only(shared_data: Path) -> None:
    record = case(shared_data, "nsys/graphs-only.sqlite")
    assert record.graphs.whole == 2
    assert any("--cuda-graph-trace=node" in note.text for note in record.notes)


def test_case_bad_values(shared_data: Path) -> None:
    negative = case(shared_data, "nsys/negative-kernel.sqlite")
    assert [(row.reason, row.count) for row in negative.distrusted] == [("it ends before it starts", 2)]
    assert negative.kernels == ()
    bad = case(shared_data, "nsys/bad-duration.sqlite")
    assert [note.count for note in bad.notes if "ANALYSIS_DETAILS.duration" in note.text] == [1]
    assert sum(row.calls for row in bad.kernels) == 2
