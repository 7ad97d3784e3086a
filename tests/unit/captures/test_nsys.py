"""What is left of an nsys capture: its kernel table, and exports without environments."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from llm_perf_opt.captures.nsys import LEFT_OUT, drop_environments, summary_csv
from llm_perf_opt.errors import StageError
from llm_perf_opt.formats.nsys_stats import SUMMARY_COLUMNS
from llm_perf_opt.records.tools import KernelTime


def kernel(name: str, instances: int, total_ns: int, *rest: float) -> KernelTime:
    mean, median, low, high, std = rest
    return KernelTime(
        name=name, instances=instances, total_ns=total_ns, mean_ns=mean, median_ns=median,
        min_ns=int(low), max_ns=int(high), std_ns=std,
    )  # fmt: skip


def test_the_table_is_that_of_nsys_stats() -> None:
    first = kernel("void f<int, float>(int)", 4, 120, 30.0, 25.0, 10, 60, 21.602)
    second = kernel("[unnamed kernel]", 1, 40, 40.0, 40.0, 40, 40, 0.0)
    assert summary_csv([first, second]).splitlines() == [
        ",".join(SUMMARY_COLUMNS),
        '75.0,120,4,30.0,25.0,10,60,21.6,"void f<int, float>(int)"',
        "25.0,40,1,40.0,40.0,40,40,0.0,[unnamed kernel]",
    ]
    assert summary_csv([]).splitlines() == [",".join(SUMMARY_COLUMNS)]


def test_environments_are_removed_from_an_export(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT)")
        rows = [(1, "a_kernel"), (2, "PATH=/bin\0HF_TOKEN=hf_secret\0"), (3, "A=1")]
        connection.executemany("INSERT INTO StringIds VALUES (?, ?)", rows)
    drop_environments(path)
    assert b"hf_secret" not in path.read_bytes()
    assert [item.name for item in tmp_path.iterdir()] == ["run.sqlite"]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        found = dict(connection.execute("SELECT id, value FROM StringIds"))
    assert found == {1: "a_kernel", 2: LEFT_OUT, 3: "A=1"}
    (tmp_path / "broken").write_text("no database at all")
    with pytest.raises(StageError, match="broken"):
        drop_environments(tmp_path / "broken")
