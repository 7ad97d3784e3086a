"""Whatever becomes of a child is a typed failure that ends with the tail of its log."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from llm_perf_opt.config.load import load_config
from llm_perf_opt.errors import LlmperfError, MissingError, StageError
from llm_perf_opt.records.inputs import Inputs
from llm_perf_opt.stages import child
from llm_perf_opt.workload.order import WorkOrder

pytestmark = pytest.mark.integration


class Quiet:
    """Takes no notice."""

    def update(self, phase: str, done: int, total: int, steps: int) -> None:
        return None


def carry_out(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str, stall_limit_s: float = 60.0) -> LlmperfError:
    """The error of a child that runs `code`; `events` is the path of its events file."""
    order = WorkOrder(
        stage="direct_inference",
        config=load_config(None, cwd=folder, environ={}).config,
        inputs=Inputs(samples=(), epochs=()),
        scratch_dir=folder / "scratch",
        output_dir=folder / "out",
    )
    prelude = f"events = {str(folder / 'scratch' / 'events.jsonl')!r}\n"
    monkeypatch.setattr(child, "child_argv", lambda *_: [sys.executable, "-c", prelude + code])
    with pytest.raises(LlmperfError) as caught:
        child.run_child(order, Quiet(), stall_limit_s=stall_limit_s)
    return caught.value


def test_one_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
import time
open(events, "w").write('{"kind": "phase", "name": "load", "done": 0, "total": 1}\\n')
print("waiting for a lock", flush=True)
time.sleep(600)
"""
    error = carry_out(tmp_path, monkeypatch, code, stall_limit_s=1.0)
    assert isinstance(error, StageError)
    assert "made no progress for 1 s in phase 'load'" in error.message
    assert "waiting for a lock" in error.message


def test_one_that_crashes_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = carry_out(tmp_path, monkeypatch, "import os\nprint('about to', flush=True)\nos.abort()")
    assert "SIGABRT" in error.message
    assert "about to" in error.message


def test_one_that_ends_without_a_word_is_no_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "exit code 0" in carry_out(tmp_path, monkeypatch, "pass").message


def test_its_own_words_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
open(events, "w").write('{"kind": "failed", "error": "no such file", "remedy": "make it", "exit_code": 3}\\n')
raise SystemExit(3)
"""
    error = carry_out(tmp_path, monkeypatch, code)
    assert isinstance(error, MissingError)
    assert (error.message, error.remedy) == ("no such file", "make it")
