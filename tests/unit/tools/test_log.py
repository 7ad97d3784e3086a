from __future__ import annotations

import os
from pathlib import Path

from llm_perf_opt.tools.log import CappedLog, tail


def test_a_short_log_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with CappedLog(path, 1000) as log:
        os.write(log.fd, b"one\ntwo\n")
        log.trim()
    assert path.read_bytes() == b"one\ntwo\n"
    assert not log.truncated


def test_a_long_log_keeps_its_start_and_its_end_and_counts_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "log"
    lines = [b"line %06d\n" % number for number in range(2000)]
    with CappedLog(path, 2000) as log:
        for start in range(0, 2000, 100):
            os.write(log.fd, b"".join(lines[start : start + 100]))
            log.trim()
    kept = path.read_bytes().splitlines(keepends=True)
    marker = [line for line in kept if line.startswith(b"[llmperf:")]
    assert log.truncated
    assert len(marker) == 1
    assert path.stat().st_size <= 2000
    at = kept.index(marker[0])
    assert kept[:at] == lines[:at]
    assert at > 10
    assert kept[at + 1 :] == lines[-(len(kept) - at - 1) :]
    left_out = int(marker[0].split()[1])
    assert left_out + sum(map(len, kept)) - len(marker[0]) == sum(map(len, lines))


def test_one_line_longer_than_the_cap(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with CappedLog(path, 1000) as log:
        os.write(log.fd, b"x" * 5000 + b"the end")
    assert path.stat().st_size <= 1000
    assert path.read_bytes().endswith(b"the end")


def test_tail(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert tail(path) == ""
    path.write_bytes(b"".join(b"%d\n" % number for number in range(100)) + b"\n\n")
    assert tail(path, 2) == "98\n99"
    path.write_bytes(b"10%\r50%\r100%\r\n\xff broken \r")
    assert tail(path) == "100%\n� broken"
    path.write_bytes(b"head\n[llmperf: 12 bytes of output left out here]\nend")
    assert tail(path) == "head\nend"
    path.write_bytes(b"y" * (1 << 20))
    assert len(tail(path)) == 64 << 10
