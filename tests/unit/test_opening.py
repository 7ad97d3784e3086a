"""Files of elsewhere are opened, or refused with the library's own kind of error."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from llm_perf_opt.opening import open_database


def test_a_schema_that_is_no_text_is_a_database_error(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE kernels (start INTEGER)")
    made.close()
    held = path.read_bytes().replace(b"kernels", b"kern\xcels").replace(b"(start INTEGER)", b"(" * 15)
    path.write_bytes(held)
    with pytest.raises(sqlite3.DatabaseError):
        open_database(path)
