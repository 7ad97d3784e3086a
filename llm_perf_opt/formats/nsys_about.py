"""What an nsys SQLite export says of itself: tool, machine, command, GPUs."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from llm_perf_opt.formats.sqlite_columns import TableReader
from llm_perf_opt.opening import open_database
from llm_perf_opt.records.columns import About, Device

_RANK = re.compile(r'(RANK|WORLD_SIZE)="?(\d+)"?$')
_ARGUMENT = re.compile(r"PROCESS_0:ARGUMENT_(\d+)$")


def about_export(reader: TableReader) -> About:
    """Facts of the capture; None where the export does not have them. Of the environment only rank and world size."""
    exported = _pairs(reader, "META_DATA_EXPORT") or _pairs(reader, "EXPORT_META_DATA")
    captured = _pairs(reader, "META_DATA_CAPTURE")
    machine = dict(_pairs(reader, "TARGET_INFO_SYSTEM_ENV"))
    first = dict(reversed(captured))
    ranks = _ranks(captured)
    arguments = sorted((int(found[1]), value) for name, value in captured if (found := _ARGUMENT.match(name)))
    command = first.get("PROCESS_0:COMMAND")
    mode = first.get("CUDA_GRAPH_TRACE_OPTIONS:MODE")
    return About(
        tool=dict(exported).get("EXPORT_PRODUCT_NAME"),
        tool_version=dict(exported).get("EXPORT_PRODUCT_VERSION"),
        driver=machine.get("NvDriverVersion"),
        cuda=_cuda_version(machine.get("CudaDriverVersion")),
        command=() if command is None else (command, *(value for _, value in arguments)),
        host=machine.get("Hostname"),
        rank=ranks.get("RANK"),
        world_size=ranks.get("WORLD_SIZE"),
        graph_trace=None if mode is None else mode.lower(),
    )


def said_rank(path: Path) -> tuple[int | None, int | None]:
    """The rank and the world size of the launched program in an export whose environments are still in it; None where
    they are not, or the file cannot be read."""
    try:
        with contextlib.closing(open_database(path)) as connection:
            ranks = _ranks(_pairs(TableReader(path, connection), "META_DATA_CAPTURE"))
    except (sqlite3.Error, OSError, UnicodeDecodeError):
        return None, None  # said when it is read
    return ranks.get("RANK"), ranks.get("WORLD_SIZE")


def _ranks(captured: Sequence[tuple[str, str]]) -> dict[str, int]:
    return {
        found[1]: int(found[2])
        for name, value in captured
        if name.endswith("ENVIRONMENT_VARIABLE") and (found := _RANK.match(value))
    }


def devices_of(
    reader: TableReader, pairs: Sequence[tuple[int, int]], pids: Sequence[int]
) -> tuple[list[Device], list[int]]:
    """The GPUs behind (process, ordinal) pairs, and which one each pair is.

    Args:
        pairs: position of the process (-1: not known) and the number that it gives the GPU.
        pids: of each process.
    """
    physical = {
        (pid, ordinal): (gpu, uuid)
        for gpu, ordinal, pid, uuid in _rows(reader, "TARGET_INFO_CUDA_DEVICE", ("gpuId", "cudaId", "pid", "uuid"))
        if gpu is not None
    }
    names = {gpu: name for gpu, name in _rows(reader, "TARGET_INFO_GPU", ("id", "name")) if isinstance(name, str)}
    only = next(iter(names.values())) if len(set(names.values())) == 1 else None
    devices: list[Device] = []
    keys: dict[object, int] = {}
    positions = []
    for process, ordinal in pairs:
        gpu, uuid = physical.get((pids[process] if process >= 0 else -1, ordinal), (None, None))
        key: object = (process, ordinal) if gpu is None else gpu
        if key not in keys:
            keys[key] = len(devices)
            label = None if gpu is None else str(uuid or gpu)
            # Where all GPUs of the machine are of one model, that is also the model of one that cannot be told apart.
            devices.append(Device(ordinal, process, label, names.get(gpu, only)))
        positions.append(keys[key])
    return devices, positions


def duration_ns(reader: TableReader) -> int | None:
    """Length of the recording."""
    rows = _rows(reader, "ANALYSIS_DETAILS", ("duration",))
    return max((value for (value,) in rows if isinstance(value, int) and value >= 0), default=None)


def recording_ns(reader: TableReader) -> tuple[int, int] | None:
    """From the start of the session, which times count from, to the end of the capture."""
    columns = ("duration", "stopTime")
    ends = []
    for row in _rows(reader, "ANALYSIS_DETAILS", columns):
        for column, value in zip(columns, row, strict=True):
            if isinstance(value, int) and value > 0:
                ends.append(value)
            elif value is not None:
                reader.malformed["ANALYSIS_DETAILS", column] += 1
    return (0, max(ends)) if ends else None


def _cuda_version(number: str | None) -> str | None:
    return f"{int(number) // 1000}.{int(number) % 1000 // 10}" if number and number.isdigit() else None


def _pairs(reader: TableReader, table: str) -> list[tuple[str, str]]:
    return [(str(name), str(value)) for name, value in _rows(reader, table, ("name", "value")) if value is not None]


def _rows(reader: TableReader, table: str, columns: Sequence[str]) -> list[tuple[object, ...]]:
    """These columns; NULL in place of one that is missing."""
    there = reader.columns_of(table)
    if not there:
        return []
    cells = ", ".join(f'"{name}"' if name in there else "NULL" for name in columns)
    return reader.connection.execute(f'SELECT {cells} FROM "{table}"').fetchall()
