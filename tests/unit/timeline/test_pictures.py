"""The pictures of the docs are what their script draws, and show every cause."""

from __future__ import annotations

import runpy
from pathlib import Path

from llm_perf_opt.analysis.timeline.breakdown import CAUSES

FOLDER = Path(__file__).parents[3] / "docs" / "images"


def test_the_pictures_are_drawn_and_every_cause_is_in_them() -> None:
    script = runpy.run_path(str(FOLDER / "timeline.py"))
    stretches = script["causes"]()
    assert {cause for cause, _, _ in stretches if cause is not None} == set(CAUSES) == set(script["COLOURS"])
    assert script["idle_picture"]() == (FOLDER / "idle.svg").read_text(encoding="utf-8")
    assert script["waterfall_picture"]() == (FOLDER / "waterfall.svg").read_text(encoding="utf-8")


def test_every_cause_has_its_rule_in_the_docs() -> None:
    page = (FOLDER.parent / "timeline.md").read_text(encoding="utf-8")
    assert all(f"| `{cause}` |" in page for cause in CAUSES)
