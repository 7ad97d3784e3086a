"""Facts and kernels of nsys exports."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from llm_perf_opt.analysis.timeline.kernel_times import kernel_runs, kernel_times
from llm_perf_opt.captures.nsys_reports import read_report
from llm_perf_opt.errors import StageError
from llm_perf_opt.formats.nsys_events import read_kernels
from llm_perf_opt.formats.nsys_stats import SUMMARY_COLUMNS
from llm_perf_opt.records.tools import KernelTime, NsysFacts
from tests.standins.nsys_standin import Export


def read_facts(path: Path) -> NsysFacts:
    return read_report("report", path).report.facts


def kernel_summary(path: Path) -> list[KernelTime]:
    return kernel_times([kernel_runs(read_kernels(path))])


def event(kind: str, ns: int, name: str | None = None, domain: str | None = None, **other: object) -> dict[str, object]:
    base: dict[str, object] = {"event": kind, "ns": ns, "pid": 7, "tid": 7, "domain": domain, "name": name}
    return {**base, "registered": True, "id": 0, **other}


@pytest.fixture
def export(tmp_path: Path) -> Path:
    path = tmp_path / "odd #name%41?.sqlite"
    report = {
        "version": "2026.1.1.204",
        "mode": "",
        "start_ns": 0,
        "end_ns": 1000,
        "events": [
            event("push", 10, "decode"),
            event("push", 20, "inner", "mine"),
            event("pop", 30, domain="mine"),
            event("start", 40, "async", registered=False, id=1),
            event("pop", 110),
            event("end", 140, id=1),
            event("push", 200, "decode"),
        ],
        "kernels": [{"name": name, "start": 10 * number, "pid": 7} for number, name in enumerate("aab")],
    }
    connection = sqlite3.connect(path)
    with connection:
        Export(connection, report).write()
    connection.close()
    return path


def test_facts_of_an_export(export: Path) -> None:
    facts = read_facts(export)
    assert (facts.exporter_version, facts.kernels, facts.kernel_ns) == ("2026.1.1.204", 3, 3000)
    assert (facts.runtime_calls, facts.duration_ns, facts.graph_launches) == (3, 1000, 0)
    assert [(item.pid, item.kernels) for item in facts.processes] == [(7, 3)]
    assert facts.nvtx_events == 4
    described = [
        (item.name, item.domain, item.kind, item.registered, item.count, item.unfinished, item.total_ns)
        for item in facts.nvtx_ranges
    ]
    assert described == [
        ("async", None, "start_end", False, 1, 0, 100),
        ("decode", None, "push_pop", True, 2, 1, 100),
        ("inner", "mine", "push_pop", True, 1, 0, 10),
    ]


def test_reading_leaves_nothing_beside_the_file(export: Path) -> None:
    read_facts(export)
    kernel_summary(export)
    assert list(export.parent.iterdir()) == [export]


def test_kernel_summary(tmp_path: Path) -> None:
    path = tmp_path / "k.sqlite"
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("CREATE TABLE StringIds (id INTEGER, value TEXT)")
        connection.execute(
            "CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER, end INTEGER, demangledName INTEGER)"
        )
        connection.execute("INSERT INTO StringIds VALUES (1, 'void f<int, float>(int)')")
        durations = [(1, 10), (1, 20), (1, 60), (1, 30), (2, 40)]
        rows = [(0, ns, name) for name, ns in durations]
        connection.executemany("INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (?, ?, ?)", rows)
    connection.close()
    first, second = kernel_summary(path)
    assert (first.name, first.instances, first.total_ns, first.mean_ns, first.median_ns) == (
        "void f<int, float>(int)", 4, 120, 30.0, 25.0
    )  # fmt: skip
    assert (first.min_ns, first.max_ns) == (10, 60)
    assert first.std_ns == pytest.approx(21.602, abs=1e-3)  # statistics.stdev
    assert (second.name, second.median_ns, second.std_ns) == ("[unnamed kernel]", 40.0, 0.0)


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0" + b"\xff" * 200, b"not a database, really"])
def test_files_that_are_no_exports(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.sqlite"
    path.write_bytes(content)
    with pytest.raises(StageError, match="export"):
        read_facts(path)
    with pytest.raises(StageError):
        read_facts(tmp_path / "missing.sqlite")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "version", "counts"),
    [
        ("h100-2gpu-nsys2026.2", "2026.2.1.210", (3442, 16782, 2)),
        ("mfu-2gpu-before-nsys2026.2", "2026.2.1.210", (4010, 19118, 2)),
        ("rtx3080-two-kernels-nsys2026.1", "2026.1.1.204", (2, 0, 1)),
        ("rtx4060-no-kernels-nsys2025.5", "2025.5.1.121", (0, 0, 0)),
        ("rtx5060ti-no-kernels-nsys2025.1", "2025.1.3.140", (0, 0, 0)),
    ],
)
def test_recorded_exports(shared_data: Path, name: str, version: str, counts: tuple[int, int, int]) -> None:
    kernels, events, processes = counts
    path = shared_data / "nsys" / f"{name}.sqlite"
    facts = read_facts(path)
    assert (facts.exporter_version, facts.kernels, facts.nvtx_events) == (version, kernels, events)
    assert len(facts.processes) == processes
    assert sum(item.kernels for item in facts.processes) == kernels
    summary = kernel_summary(path)
    assert sum(row.instances for row in summary) == kernels
    assert sum(row.total_ns for row in summary) == facts.kernel_ns


@pytest.mark.real_data
def test_the_summary_has_the_columns_of_nsys_stats(shared_data: Path) -> None:
    recorded = shared_data / "nsys" / "dsocr-rtx5090-decode-cuda_gpu_kern_sum.csv"
    assert recorded.read_text().splitlines()[0] == ",".join(SUMMARY_COLUMNS)
