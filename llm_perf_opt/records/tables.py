"""`profile.sqlite`: tables of the profiled sample, with declared columns and units in their names.

`operators`: one row for each (phase, name, input_shapes). `kernels`: one row for each (phase, name); empty without a
GPU. Times are whole nanoseconds summed over calls.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from llm_perf_opt.errors import MissingError
from llm_perf_opt.opening import open_database

Row = TypeVar("Row")


@dataclass(slots=True)
class OperatorRow:
    """Host operator or label."""

    phase: str
    """Innermost of warmup, prefill, decode around it, or `outside`."""
    name: str
    input_shapes: str = ""
    """Empty unless operators were told apart by shape."""
    calls: int = 0
    self_cpu_ns: int = 0
    """Less the time of what it called."""
    total_cpu_ns: int = 0
    device_ns: int = 0
    """Kernels that it launched itself."""


@dataclass(slots=True)
class KernelRow:
    """A kernel, or CUDA graphs that were traced whole; copies and sets are in `timeline.json`."""

    phase: str
    """Of the host event that launched it."""
    name: str
    calls: int = 0
    total_ns: int = 0
    max_ns: int = 0


def write_tables(path: Path, operators: Iterable[OperatorRow], kernels: Iterable[KernelRow]) -> None:
    """Write both tables; an existing file is replaced whole."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    try:
        with contextlib.closing(sqlite3.connect(temporary)) as database, database:
            _fill(database, "operators", OperatorRow, operators)
            _fill(database, "kernels", KernelRow, kernels)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _fill(
    database: sqlite3.Connection, table: str, row_type: type[OperatorRow | KernelRow], rows: Iterable[Any]
) -> None:
    fields = dataclasses.fields(row_type)
    columns = ", ".join(f"{field.name} {'INTEGER' if field.type == 'int' else 'TEXT'} NOT NULL" for field in fields)
    database.execute(f"CREATE TABLE {table} ({columns})")
    marks = ", ".join("?" * len(fields))
    database.executemany(f"INSERT INTO {table} VALUES ({marks})", [dataclasses.astuple(row) for row in rows])


@dataclass(frozen=True)
class ProfileTables:
    """Both tables."""

    operators: list[OperatorRow]
    """By falling device time, then self time on the host."""
    kernels: list[KernelRow]
    """By falling total time, then name."""

    @classmethod
    def read(cls, path: Path) -> ProfileTables:
        """Both tables of a file; MissingError where it is broken."""
        operators = _rows(path, OperatorRow, "operators", "device_ns DESC, self_cpu_ns DESC, phase, name, input_shapes")
        return cls(operators, _rows(path, KernelRow, "kernels", "total_ns DESC, phase, name"))


def _rows(path: Path, kind: type[Row], table: str, order: str) -> list[Row]:
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    types = [{"str": str, "int": int}[str(field.type)] for field in fields]
    names = ", ".join(field.name for field in fields)
    try:
        with contextlib.closing(open_database(path)) as database:
            rows = database.execute(f"SELECT {names} FROM {table} ORDER BY {order}").fetchall()
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        raise MissingError(f"{path} cannot be read: {error}", "restore the file, or run again") from error
    for row in rows:
        for field, kept, value in zip(fields, types, row, strict=True):
            if type(value) is not kept:
                shown = f"a {type(value).__name__} where a {kept.__name__} belongs"
                raise MissingError(f"{path}: {table}.{field.name} holds {shown}", "restore the file, or run again")
    return [kind(*row) for row in rows]
