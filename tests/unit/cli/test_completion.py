"""Completion of overrides, presets and files; bash, which breaks words, included."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_perf_opt.cli.completion import bash_word, complete, complete_argument


def words(incomplete: str) -> list[str]:
    return [word for word, _ in complete_argument(incomplete)]


def test_keys_and_groups() -> None:
    assert words("pipeline.nsys.capture") == ["pipeline.nsys.capture_range=", "pipeline.nsys.capture_range_end="]
    assert words("profiling/n") == ["profiling/ncu@pipeline.ncu=", "profiling/nsys@pipeline.nsys="]
    assert words("infer.max") == ["infer.max_new_tokens="]


def test_values_and_options() -> None:
    assert words("infer.execution=c") == ["infer.execution=compile", "infer.execution=cuda_graph"]
    assert words("pipeline.nsys.enable=") == ["pipeline.nsys.enable=true", "pipeline.nsys.enable=false"]
    assert words("profiling/nsys@pipeline.nsys=nsys.p") == ["profiling/nsys@pipeline.nsys=nsys.prefill"]
    assert words("dataset=") == ["dataset=demo_pages", "dataset=omnidocbench"]
    assert words("infer.seed=") == []
    assert words("nonsense=") == []


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for name in ("first.yaml", "folder/second.yml", "third.txt", ".hidden.yaml"):
        (tmp_path / name).write_text("", encoding="utf-8")
    assert words("fi") == ["first.yaml"]
    assert words("fo") == ["folder/"]
    assert words("folder/") == ["folder/second.yml"]
    assert "third.txt" not in words("")
    assert ".hidden.yaml" not in words("")


@pytest.mark.parametrize(
    ("line", "whole", "offered"),
    [
        ("llmperf run prof", "prof", "prof"),
        ("llmperf run dataset =", "dataset=", ""),
        ("llmperf run dataset = om", "dataset=om", "om"),
        ("llmperf run profiling/ncu @ pipeline.ncu = ncu.h", "profiling/ncu@pipeline.ncu=ncu.h", "ncu.h"),
        ("llmperf run device = cuda : 0", "device=cuda:0", "0"),
        ("llmperf run a.yaml ", "", ""),
    ],
)
def test_bash_words_are_put_together(line: str, whole: str, offered: str) -> None:
    parts = line.split(" ")
    environ = {"COMP_WORDS": "\n".join(parts), "COMP_CWORD": str(len(parts) - 1)}
    word, cut = bash_word(environ)
    assert (word, word[cut:]) == (whole, offered)


def test_bash_is_offered_the_end_only() -> None:
    environ = {"COMP_WORDS": "llmperf\nrun\ndataset\n=", "COMP_CWORD": "3"}
    assert [str(word) for word, _ in complete("=", environ)] == ["demo_pages", "omnidocbench"]
    assert [word for word, _ in complete("dataset=o", {})] == ["dataset=omnidocbench"]
