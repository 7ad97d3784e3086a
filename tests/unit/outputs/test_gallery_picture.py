"""The picture in the README is what its script draws."""

from __future__ import annotations

import runpy
from pathlib import Path

from PIL import Image

from llm_perf_opt.workload.markup import parse_markup

FOLDER = Path(__file__).parents[3] / "docs" / "images"


def test_layouts_are_well_formed_and_drawn() -> None:
    script = runpy.run_path(str(FOLDER / "gallery.py"))
    for name, layout in script["LAYOUTS"].items():
        markup = parse_markup(script["layout_text"](name))
        assert not markup.problems
        assert [region.label for region in markup.regions] == [label for label, _ in layout]
    with Image.open(FOLDER / "gallery.png") as committed:
        assert committed.size == script["picture"]().size
