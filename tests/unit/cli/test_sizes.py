"""Options that say what a model is run on, and the settings they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.cli.sizes import sizes_given
from llm_perf_opt.config.load import load_config
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import ConfigError, MissingError


def loaded(tmp_path: Path, text: str = "", **given: Any) -> Config:
    file = tmp_path / "my.yaml"
    file.write_text(f"model: {{path: m}}\n{text}", encoding="utf-8")
    return load_config(file, options=sizes_given(given), environ={}, cwd=tmp_path).config


def test_nothing_given_sets_nothing() -> None:
    assert sizes_given({}) == {}


def test_lengths(tmp_path: Path) -> None:
    config = loaded(tmp_path, prompt_tokens=8, image=["672x448", "3X4"], batch=4, max_new_tokens=5)
    assert config.dataset.synthetic.prompt_tokens == 8
    assert config.dataset.synthetic.images == ("672x448", "3x4")
    assert (config.infer.batch_size, config.infer.max_new_tokens) == (4, 5)


def test_a_prompt_is_stronger_than_lengths_of_the_file(tmp_path: Path) -> None:
    dataset = loaded(tmp_path, "dataset: {synthetic: {prompt_tokens: 3}}\n", prompt="Hello").dataset
    assert (dataset.prompt, dataset.synthetic.wanted) == ("Hello", False)


def test_a_file_is_found_whatever_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a [1]*.png").write_bytes(b"")
    (tmp_path / "a 1x.png").write_bytes(b"")
    dataset = loaded(tmp_path, "dataset: {subset_filelist: list.txt}\n", image=["a [1]*.png"]).dataset
    assert dataset.subset_filelist is None
    assert dataset.root == str(tmp_path)
    assert [path.name for path in tmp_path.glob(dataset.fallback_patterns[0])] == ["a [1]*.png"]


def test_contradictions(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    for given in (
        {"prompt": "Hello", "prompt_tokens": 3},
        {"image": [str(tmp_path / "a.png")], "prompt_tokens": 3},
        {"image": [str(tmp_path / "a.png"), "3x3"]},
    ):
        with pytest.raises(ConfigError):
            sizes_given(dict(given))
    with pytest.raises(MissingError, match="0x3"):
        sizes_given({"image": ["0x3"]})
