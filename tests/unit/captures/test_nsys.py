"""What is left of an nsys capture: its kernel table, and exports without environments."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from llm_perf_opt.captures.environments import LEFT_OUT, drop_environments
from llm_perf_opt.captures.nsys import summary_csv
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


def test_every_place_of_an_environment_is_emptied(tmp_path: Path) -> None:
    path = tmp_path / "run.sqlite"
    secret = "Zq7-planted-0000"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE StringIds (id INTEGER PRIMARY KEY, value TEXT)")
        connection.execute("CREATE TABLE META_DATA_CAPTURE (name TEXT, value TEXT)")
        connection.execute("CREATE TABLE TARGET_INFO_SYSTEM_ENV (name TEXT, value TEXT)")
        connection.execute("CREATE TABLE NVTX_EVENTS (start INTEGER, text TEXT, binaryData BLOB)")
        rows = [
            ("PROCESS_0:ENVIRONMENT_VARIABLE", f'HF_TOKEN="{secret}"'),
            ("PROCESS_0:ARGUMENT_0", f"--pass-it-on={secret}"),
            ("PROCESS_0:COMMAND", "python"),
        ]
        connection.executemany("INSERT INTO META_DATA_CAPTURE VALUES (?, ?)", rows)
        rows = [("DeviceEnvironment", f"HOME=/root;MY_API_KEY={secret}"), ("CpuCores", "8")]
        connection.executemany("INSERT INTO TARGET_INFO_SYSTEM_ENV VALUES (?, ?)", rows)
        # Found elsewhere since its value is known, whatever the bytes around it are.
        connection.execute(
            "INSERT INTO StringIds VALUES (1, CAST(? AS TEXT))", (f"sh -c {secret} \xff".encode("latin-1"),)
        )
        connection.execute("INSERT INTO NVTX_EVENTS VALUES (1, ?, ?)", (f"use {secret} twice", secret.encode()))
        connection.execute("CREATE TABLE freed (value TEXT)")
        connection.executemany("INSERT INTO freed VALUES (?)", [(f"{secret}{'x' * 4000}",)] * 9)
        connection.execute("DROP TABLE freed")
    drop_environments(path)
    assert secret.encode() not in path.read_bytes()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT * FROM META_DATA_CAPTURE").fetchall() == [("PROCESS_0:COMMAND", "python")]
        found = dict(connection.execute("SELECT * FROM TARGET_INFO_SYSTEM_ENV"))
        assert found == {"DeviceEnvironment": LEFT_OUT, "CpuCores": "8"}
        assert connection.execute("SELECT * FROM NVTX_EVENTS").fetchall() == [(1, "use *** twice", b"***")]


def test_recorded_releases_keep_no_environment(shared_data: Path, tmp_path: Path) -> None:
    """Every recorded export, 2025.1 to 2026.2: no dummy of a secret, no variable, no argument; all else as it was."""
    exports = sorted((shared_data / "nsys").glob("*.sqlite"))
    assert len(exports) >= 5
    for export in exports:
        copy = tmp_path / export.name
        copy.write_bytes(export.read_bytes())
        with contextlib.closing(sqlite3.connect(copy)) as connection:
            query = "SELECT value FROM META_DATA_CAPTURE WHERE name LIKE '%:ENVIRONMENT_VARIABLE'"
            variables = [value.encode() for (value,) in connection.execute(query)]
            kernels = tables(connection)
        assert b"dummy-secret" in copy.read_bytes()
        assert variables
        drop_environments(copy)
        data = copy.read_bytes()
        assert b"dummy-secret" not in data, export.name
        assert not [variable for variable in variables if variable in data], export.name
        with contextlib.closing(sqlite3.connect(copy)) as connection:
            assert tables(connection) == kernels
        copy.unlink()


def tables(connection: sqlite3.Connection) -> dict[str, int]:
    """Rows of each table but the one that loses some."""
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    counts = {name: connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}
    return {name: count for name, count in counts.items() if name != "META_DATA_CAPTURE"}
