"""Taking the environments and command lines of processes out of an nsys export."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from llm_perf_opt.formats.nsys_export import table_names, unreadable
from llm_perf_opt.redact import HIDDEN, is_secret_name

LEFT_OUT = "[environment left out by llmperf]"
SHORTEST_SECRET = 6
"""A shorter value is found in too many words to look for it."""
_VARIABLE = re.compile(rb"""(?:^|[\0;\n])(?P<name>[A-Za-z_]\w*)=(?P<quote>"?)(?P<value>[^\0;\n"]+)""")


def drop_environments(path: Path) -> None:
    """Remove the environments and arguments of processes from an export of ours; their bytes are overwritten.

    Recorded releases from 2023.4 to 2026.2 store them in up to three places: `PROCESS_n:ENVIRONMENT_VARIABLE` and
    `PROCESS_n:ARGUMENT_n` of META_DATA_CAPTURE (the launched program), `DeviceEnvironment` of TARGET_INFO_SYSTEM_ENV
    (nsys itself), and `/proc/PID/environ` of every process that nsys may read as strings with zero bytes in them, which
    no name has. The values of secret names among them are hidden wherever else they stand.

    Raises:
        StageError: the file cannot be read or changed.
    """
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute("PRAGMA journal_mode = MEMORY")
            secrets = _secrets(connection)
            _drop(connection)
            _hide(connection, secrets)
            connection.commit()
            # Pages that were freed before this: no release leaves any, whoever worked on the file since may have.
            if connection.execute("PRAGMA freelist_count").fetchone()[0]:
                connection.execute("VACUUM")
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise unreadable(path, error) from error


# Table → the column, and which of its rows hold an environment or arguments.
_PLACES = {
    "StringIds": ("value", "instr(value, char(0)) > 0"),
    "META_DATA_CAPTURE": ("value", "name LIKE '%ENVIRONMENT%' OR name LIKE '%ARGUMENT%'"),
    "TARGET_INFO_SYSTEM_ENV": ("value", "name LIKE '%Environment%'"),
}


def _secrets(connection: sqlite3.Connection) -> set[bytes]:
    """Values of secret names in the environments."""
    found = set()
    for table in _PLACES.keys() & table_names(connection):
        column, rows = _PLACES[table]
        for (block,) in connection.execute(f'SELECT CAST("{column}" AS BLOB) FROM "{table}" WHERE {rows}'):
            for variable in _VARIABLE.finditer(block or b""):
                if is_secret_name(variable["name"].decode()) and len(variable["value"]) >= SHORTEST_SECRET:
                    found.add(variable["value"])
    return found


def _drop(connection: sqlite3.Connection) -> None:
    """Rows that others refer to, or whose names say what was there, stay without their value."""
    tables = table_names(connection)
    for table, (column, rows) in _PLACES.items():
        if table == "META_DATA_CAPTURE" and table in tables:
            connection.execute(f"DELETE FROM {table} WHERE {rows}")
        elif table in tables:
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE {rows}", (LEFT_OUT,))


def _hide(connection: sqlite3.Connection, secrets: set[bytes]) -> None:
    if not secrets:
        return
    pattern = re.compile(b"|".join(map(re.escape, sorted(secrets, key=len, reverse=True))))
    # Bytes, since a name need not be UTF-8.
    connection.create_function("holds_secret", 1, lambda value: value is not None and bool(pattern.search(value)))
    connection.create_function("without_secret", 1, lambda value: pattern.sub(HIDDEN.encode(), value))
    for table, column in _text_columns(connection):
        value = f'CAST("{column}" AS BLOB)'
        kept = f"CASE typeof(\"{column}\") WHEN 'blob' THEN without_secret({value}) "
        kept += f"ELSE CAST(without_secret({value}) AS TEXT) END"
        connection.execute(f'UPDATE "{table}" SET "{column}" = {kept} WHERE holds_secret({value})')


def _text_columns(connection: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        if '"' in table or table.startswith("sqlite_"):
            continue
        for _, column, kind, *_ in connection.execute(f'PRAGMA table_info("{table}")').fetchall():
            if '"' not in column and kind.upper() not in ("INTEGER", "INT", "BIGINT", "REAL"):
                yield table, column
