"""What a run is called."""

from __future__ import annotations

from typing import Any

import pytest

from llm_perf_opt.config.label import model_label, run_label
from llm_perf_opt.config.schema import Config


def config(path: str | None, **other: Any) -> Config:
    return Config.model_validate({"model": {"path": path}, **other})


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (None, "demo"),
        ("/models/Qwen3-0.6B", "Qwen3-0.6B"),
        ("/models/Qwen3-0.6B/config.json", "Qwen3-0.6B"),
        ("/models/SmolLM2.Q4_1.gguf", "SmolLM2.Q4_1"),
        ("/hub/models--Qwen--Qwen3-0.6B/snapshots/c1899de2", "Qwen/Qwen3-0.6B"),
        ("/hub/models--a--b--c/snapshots/0", "a/b--c"),
    ],
)
def test_by_its_model(path: str | None, name: str) -> None:
    assert model_label(config(path)) == name


def test_a_label_stands_behind_the_name() -> None:
    assert run_label(config("/m/x", experiment="first try")) == "x (first try)"


def test_by_the_command_it_watched() -> None:
    watched = {"workload": {"command": ["python", "my script.py"]}}
    assert run_label(config("/m/x", pipeline=watched)) == "python 'my script.py'"
