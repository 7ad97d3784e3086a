"""The parent's side of tracing: cache, errors of the child, no torch here."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.analysis.static import analyze
from llm_perf_opt.analysis.traced import launch
from llm_perf_opt.errors import ConfigError, StageError
from llm_perf_opt.records.static import StaticRequest
from tests.unit.static.configs import LLAMA_31_8B

RECORD = analyze(LLAMA_31_8B).model_copy(update={"method": "traced"})


class Child:
    """Stands in for `subprocess.run`; remembers what it was asked."""

    def __init__(self, code: int, stdout: str = "", stderr: str = "") -> None:
        self.answer = subprocess.CompletedProcess([], code, stdout, stderr)
        self.orders: list[dict[str, Any]] = []

    def __call__(self, argv: list[str], **named: Any) -> subprocess.CompletedProcess[str]:
        assert argv[1:] == ["-m", "llm_perf_opt.analysis.traced"]
        self.orders.append(json.loads(named["input"]))
        return self.answer


def test_a_record_is_traced_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = Child(0, RECORD.to_json())
    monkeypatch.setattr(subprocess, "run", child)
    for _ in range(2):
        assert launch.traced(LLAMA_31_8B, StaticRequest(), cache=tmp_path) == RECORD
    assert len(child.orders) == 1
    assert child.orders[0]["config"] == LLAMA_31_8B
    launch.traced(LLAMA_31_8B, StaticRequest(batch=2), cache=tmp_path)
    launch.traced({**LLAMA_31_8B, "vocab_size": 9}, StaticRequest(), cache=tmp_path)
    assert len(child.orders) == 3
    assert not list(tmp_path.glob("*.tmp"))


def test_another_transformers_traces_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = Child(0, RECORD.to_json())
    monkeypatch.setattr(subprocess, "run", child)
    for release in ("5.0", "5.1"):
        monkeypatch.setattr(launch, "version", lambda package, release=release: release)
        launch.traced(LLAMA_31_8B, StaticRequest(), cache=tmp_path)
    assert len(child.orders) == 2


def test_a_broken_cache_entry_is_traced_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = Child(0, RECORD.to_json())
    monkeypatch.setattr(subprocess, "run", child)
    launch.traced(LLAMA_31_8B, StaticRequest(), cache=tmp_path)
    next(tmp_path.iterdir()).write_text("{}")
    assert launch.traced(LLAMA_31_8B, StaticRequest(), cache=tmp_path) == RECORD
    assert len(child.orders) == 2


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", Child(0, RECORD.to_json()))
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert launch.traced(LLAMA_31_8B, StaticRequest(), cache=blocked / "under") == RECORD


def test_a_refusal_of_the_child_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", Child(2, json.dumps({"message": "no such", "remedy": "do that"})))
    with pytest.raises(ConfigError, match="no such") as caught:
        launch.traced(LLAMA_31_8B, StaticRequest(), cache=tmp_path)
    assert caught.value.remedy == "do that"


def test_a_child_that_dies_is_a_failed_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", Child(-9, "", "Killed\n"))
    with pytest.raises(StageError, match="ended with -9: Killed"):
        launch.traced(LLAMA_31_8B, StaticRequest(), cache=tmp_path)


def test_a_child_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(argv: list[str], **named: Any) -> None:
        raise subprocess.TimeoutExpired(argv, named["timeout"])

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(StageError, match="more than 5 s"):
        launch.traced(LLAMA_31_8B, StaticRequest(), cache=tmp_path, timeout_s=5)


def test_the_cache_directory_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert launch.cache_directory() == tmp_path / "llmperf" / "static"
