"""Labels in any script: a font that has it, or code points and a word about it; never boxes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont

from llm_perf_opt.workload import fonts
from llm_perf_opt.workload.drawing import draw_regions, undrawn
from llm_perf_opt.workload.fonts import lettering
from llm_perf_opt.workload.markup import parse_markup
from llm_perf_opt.workload.visualization import draw_sample

BOX = "\U0010ffff"


def boxes(font: fonts.Font, text: str) -> set[str]:
    """Characters that come out as the box."""
    box = bytes(font.getmask(BOX))
    return {char for char in text if not char.isspace() and bytes(font.getmask(char)) == box}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cf", "Zs", "Zl", "Zp"]), min_size=1, max_size=8))
def test_no_label_comes_out_as_boxes(label: str) -> None:
    found = lettering(label, 16)
    assert boxes(found.font, found.text) == set()
    assert set(found.missing) <= set(label)
    if not found.missing:
        assert found.text == label


def test_latin_is_drawn_as_before() -> None:
    found = lettering("image_caption", 20)
    assert (found.text, found.missing, found.font.getmask("image").size) == (
        "image_caption",
        "",
        ImageFont.load_default(20).getmask("image").size,
    )


def test_without_a_font_the_code_points_are_drawn_and_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fonts, "font_files", lambda: ())
    fonts._best.cache_clear()
    text = "<|ref|>标题 a<|/ref|><|det|>[[100, 100, 900, 900]]<|/det|>"
    found = lettering("标题 a", 16)
    assert (found.text, found.missing) == ("U+6807 U+9898  a", "标题")
    regions = parse_markup(text).regions
    (told,) = undrawn(regions)
    assert "标题 a is drawn as U+6807 U+9898" in told
    info = draw_sample(tmp_path, "/page.png", Image.new("RGB", (400, 300), "white"), text)
    assert told in info.problems
    fonts._best.cache_clear()


def test_a_font_of_the_system_is_taken_where_it_has_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    fonts._best.cache_clear()
    if not any("DejaVuSans.ttf" in path for path in fonts.font_files()):
        pytest.skip("DejaVu Sans is not installed")
    found = lettering("заголовок é Ω", 16)
    assert (found.text, found.missing) == ("заголовок é Ω", "")
    drawn = draw_regions(
        Image.new("RGB", (400, 300), "white"),
        parse_markup("<|ref|>Ωж<|/ref|><|det|>[[100, 100, 900, 900]]<|/det|>").regions,
    )
    other = draw_regions(
        Image.new("RGB", (400, 300), "white"),
        parse_markup("<|ref|>жΩ<|/ref|><|det|>[[100, 100, 900, 900]]<|/det|>").regions,
    )
    assert drawn.tobytes() != other.tobytes()


def test_broken_fonts_are_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    monkeypatch.setattr(fonts, "font_files", lambda: (str(tmp_path / "broken.ttf"),))
    fonts._best.cache_clear()
    assert lettering("标", 16).text == "U+6807"
    fonts._best.cache_clear()
