"""Exports read for their timeline: launches found by process and correlation id, ranges by thread."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from llm_perf_opt.analysis.launched import timeline
from llm_perf_opt.captures.nsys import read_report
from llm_perf_opt.formats.nsys_export import open_export
from llm_perf_opt.formats.nsys_timeline import device_numbers
from llm_perf_opt.records.timeline import Timeline

PID = 1 << 24


def read(path: Path) -> Timeline:
    found = read_report("run.nsys-rep", path).timeline
    return found if found is not None else timeline((), (), ())


@pytest.fixture
def two_processes(tmp_path: Path) -> Path:
    """Two processes that both call their first launch number 1, on two GPUs."""
    path = tmp_path / "run.sqlite"
    with sqlite3.connect(path) as database:
        database.executescript(
            """
            CREATE TABLE StringIds (id INTEGER, value TEXT);
            INSERT INTO StringIds VALUES (1, 'gemm'), (2, 'prefill'), (3, 'aten::mm, seq = 5, op_id = 7');
            CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start, end, deviceId, streamId, correlationId, globalPid,
                                                     demangledName);
            CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start, end, globalTid, correlationId, nameId);
            CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start, end, deviceId, streamId, correlationId, globalPid);
            CREATE TABLE NVTX_EVENTS (start, end, eventType, text, textId, globalTid, domainId);
            """
        )
        kernels = [
            (100, 140, 0, 7, 1, 5 * PID, 1),
            (120, 160, 0, 8, 2, 5 * PID, 1),
            (100, 110, 1, 7, 1, 6 * PID, 1),
            (300, 310, 1, 7, 9, 6 * PID, 1),  # its launch was not recorded
        ]
        database.executemany("INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (?, ?, ?, ?, ?, ?, ?)", kernels)
        launches = [
            (10, 12, 5 * PID + 5, 1, 0),
            (20, 22, 5 * PID + 5, 2, 0),
            (30, 32, 6 * PID + 6, 1, 0),
        ]
        database.executemany("INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (?, ?, ?, ?, ?)", launches)
        database.execute("INSERT INTO CUPTI_ACTIVITY_KIND_MEMCPY VALUES (200, 260, 0, 7, 3, ?)", (5 * PID,))
        ranges = [
            (5, 50, 59, None, 2, 5 * PID + 5, 0),
            (15, 25, 59, None, 3, 5 * PID + 5, 0),
            (15, 25, 59, "mine", None, 6 * PID + 6, 4),
        ]
        database.executemany("INSERT INTO NVTX_EVENTS VALUES (?, ?, ?, ?, ?, ?, ?)", ranges)
    database.close()
    return path


def test_a_correlation_id_means_something_within_its_process_only(two_processes: Path) -> None:
    found = read(two_processes)
    assert (found.kernels, found.kernel_ns) == (4, 100)
    (prefill, operator) = found.ranges
    assert (prefill.name, prefill.kernels, prefill.kernel_ns, prefill.own_kernel_ns) == ("prefill", 2, 80, 40)
    assert (prefill.span_ns, prefill.busy_ns, prefill.idle_ns) == (60, 60, 0)
    assert (operator.name, operator.kernels, operator.own_kernel_ns) == ("aten::mm", 1, 40)
    assert (found.unattributed_kernels, found.unattributed_ns, found.without_launch) == (2, 20, 1)


def test_busy_time_of_each_device_counts_copies(two_processes: Path) -> None:
    first, second = read(two_processes).devices
    assert (first.device, first.activities, first.activity_ns, first.copy_ns) == (0, 3, 140, 60)
    assert (first.busy_ns, first.span_ns, first.idle_ns) == (120, 160, 40)
    assert (second.busy_ns, second.span_ns, second.copy_ns) == (20, 210, 0)


def test_kernels_by_phase(two_processes: Path) -> None:
    rows = [(row.phase, row.name, row.kernels, row.total_ns, row.max_ns) for row in read(two_processes).phase_kernels]
    assert rows == [("prefill", "gemm", 2, 80, 40), ("outside", "gemm", 2, 20, 10)]


def test_a_device_is_listed_once(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "run.sqlite") as database:
        database.execute("CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start, end, deviceId)")
        database.executemany("INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (?, ?, 3)", [(1, 2), (4, 6)])
    database.close()
    with open_export(tmp_path / "run.sqlite") as export:
        assert device_numbers(export) == [3]


def test_an_export_without_any_table(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "empty.sqlite").execute("CREATE TABLE StringIds (id, value)").connection.close()
    found = read(tmp_path / "empty.sqlite")
    assert (found.devices, found.kernels, found.ranges, found.phase_kernels) == ((), 0, (), ())


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "kernels", "with_launch"),
    [
        # Counted by joining kernels and launches on (globalPid, correlationId) in SQL.
        ("h100-2gpu-nsys2026.2", 3442, 1632),
        ("mfu-2gpu-before-nsys2026.2", 4010, 3986),
        ("rtx3080-two-kernels-nsys2026.1", 2, 2),
        ("rtx4060-no-kernels-nsys2025.5", 0, 0),
        ("rtx5060ti-no-kernels-nsys2025.1", 0, 0),
    ],
)
def test_recorded_exports_add_up(shared_data: Path, name: str, kernels: int, with_launch: int) -> None:
    path = shared_data / "nsys" / f"{name}.sqlite"
    found = read(path)
    assert (found.kernels, found.kernels - found.without_launch) == (kernels, with_launch)
    own = sum(row.own_kernel_ns for row in found.ranges) + found.left_out_own_kernel_ns
    assert own + found.unattributed_ns == found.kernel_ns
    for device in found.devices:
        assert 0 < device.busy_ns <= min(device.activity_ns, device.span_ns)
    for row in found.ranges:
        assert row.busy_ns <= min(row.kernel_ns, row.span_ns)
    if kernels:
        with open_export(path) as export:
            total = export.execute("SELECT sum(end - start) FROM CUPTI_ACTIVITY_KIND_KERNEL").fetchone()[0]
        assert found.kernel_ns == total
