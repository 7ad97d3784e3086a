"""The parent's side of tracing: cache, errors of the child, no torch here."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.analysis.static.analyze import describe
from llm_perf_opt.analysis.static.description import Block, Description
from llm_perf_opt.analysis.static.families import every_family
from llm_perf_opt.analysis.static.operators import Linear, Product, Table
from llm_perf_opt.analysis.static.rows import KeysInWindow, Once, Rows
from llm_perf_opt.analysis.static.source_attention import SourceAttention
from llm_perf_opt.analysis.traced import launch
from llm_perf_opt.analysis.traced.wire import description_from_wire, description_to_wire
from llm_perf_opt.errors import ConfigError, StageError
from tests.unit.static.configs import LLAMA_31_8B

DESCRIBED = describe(LLAMA_31_8B)
ANSWER = json.dumps(description_to_wire(DESCRIBED))


class Child:
    """Stands in for `subprocess.run`; remembers what it was asked."""

    def __init__(self, code: int, stdout: str = "", stderr: str = "") -> None:
        self.answer = subprocess.CompletedProcess([], code, stdout, stderr)
        self.orders: list[dict[str, Any]] = []

    def __call__(self, argv: list[str], **named: Any) -> subprocess.CompletedProcess[str]:
        assert argv[1:] == ["-m", "llm_perf_opt.analysis.traced"]
        self.orders.append(json.loads(named["input"]))
        return self.answer


def test_a_description_is_traced_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = Child(0, ANSWER)
    monkeypatch.setattr(subprocess, "run", child)
    for _ in range(2):
        assert launch.traced(LLAMA_31_8B, cache=tmp_path) == DESCRIBED
    assert len(child.orders) == 1
    assert child.orders[0]["config"] == LLAMA_31_8B
    launch.traced(LLAMA_31_8B, ((9, 9),), cache=tmp_path)
    launch.traced({**LLAMA_31_8B, "vocab_size": 9}, cache=tmp_path)
    assert len(child.orders) == 3
    assert not list(tmp_path.glob("*.tmp"))


def test_another_transformers_traces_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = Child(0, ANSWER)
    monkeypatch.setattr(subprocess, "run", child)
    for release in ("5.0", "5.1"):
        monkeypatch.setattr(launch, "version", lambda package, release=release: release)
        launch.traced(LLAMA_31_8B, cache=tmp_path)
    assert len(child.orders) == 2


def test_a_broken_cache_entry_is_traced_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = Child(0, ANSWER)
    monkeypatch.setattr(subprocess, "run", child)
    launch.traced(LLAMA_31_8B, cache=tmp_path)
    next(tmp_path.iterdir()).write_text("{}")
    assert launch.traced(LLAMA_31_8B, cache=tmp_path) == DESCRIBED
    assert len(child.orders) == 2


def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", Child(0, ANSWER))
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert launch.traced(LLAMA_31_8B, cache=blocked / "under") == DESCRIBED


def test_a_refusal_of_the_child_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", Child(2, json.dumps({"message": "no such", "remedy": "do that"})))
    with pytest.raises(ConfigError, match="no such") as caught:
        launch.traced(LLAMA_31_8B, cache=tmp_path)
    assert caught.value.remedy == "do that"


def test_a_child_that_dies_is_a_failed_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", Child(-9, "", "Killed\n"))
    with pytest.raises(StageError, match="ended with -9: Killed"):
        launch.traced(LLAMA_31_8B, cache=tmp_path)


def test_a_child_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(argv: list[str], **named: Any) -> None:
        raise subprocess.TimeoutExpired(argv, named["timeout"])

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(StageError, match="more than 5 s"):
        launch.traced(LLAMA_31_8B, cache=tmp_path, timeout_s=5)


def test_the_cache_directory_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert launch.cache_directory() == tmp_path / "llmperf" / "static"


def test_a_description_comes_back_as_it_was() -> None:
    for family in every_family():
        if not {"text_config", "language_config"} & set(family.defaults):
            try:
                described = describe({"model_type": family.model_type})
            except ConfigError:
                # Some types have sizes without a default.
                continue
            assert description_from_wire(json.loads(json.dumps(description_to_wire(described)))) == described
    odd = Description((Block("b", (Product("p", 1, 2, 3, 4, rows=Once(5)), Table("t", 2, 3, gathered=0))),))
    assert description_from_wire(description_to_wire(odd)) == odd
    rows = Description((Block("b", (Product("p", 1, 2, 3, 4, rows=Rows.KEYS),)),))
    assert description_from_wire(description_to_wire(rows)) == rows


def test_a_type_that_transformers_has_nowhere_starts_no_child(tmp_path: Path) -> None:
    """The fixture of unit tests forbids processes: the answer comes without one."""
    with pytest.raises(ConfigError, match=r"transformers \S+ knows no model_type 'mimo_7'") as caught:
        launch.traced({"model_type": "mimo_7"}, where="config.json", cache=tmp_path)
    assert caught.value.remedy


def test_what_the_tracer_says_of_an_encoder_comes_back() -> None:
    told = Description(
        (Block("encoder", (SourceAttention("own", 2, 16, own=True), Linear("fc", 4, 8, rows=KeysInWindow(5)))),),
        source=1500,
        prompt_is_source=False,
        source_limit=1024,
    )
    assert description_from_wire(json.loads(json.dumps(description_to_wire(told)))) == told
