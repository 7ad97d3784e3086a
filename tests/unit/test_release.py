"""What stands in two places is the same in both."""

from __future__ import annotations

import tomllib
from pathlib import Path

import llm_perf_opt

ROOT = Path(__file__).parents[2]


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == llm_perf_opt.__version__
    assert project["name"] == "llm-perf-opt"
    assert f"## {llm_perf_opt.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
