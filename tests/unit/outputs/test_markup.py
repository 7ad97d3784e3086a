"""Grounding markup: exactly its form is taken, and nothing a model writes breaks the parser."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.workload.markup import FULL_SCALE, Region, parse_boxes, parse_markup, to_pixels

PAGE = (
    "<|ref|>title<|/ref|><|det|>[[88, 76, 557, 109]]<|/det|>\n# Where does the time go?\n\n"
    "<|ref|>image<|/ref|><|det|>[[138, 397, 912, 760], [10, 10, 20, 20]]<|/det|>\nrest"
)


def test_regions_boxes_and_places() -> None:
    markup = parse_markup(PAGE)
    assert [(region.label, region.boxes) for region in markup.regions] == [
        ("title", ((88.0, 76.0, 557.0, 109.0),)),
        ("image", ((138.0, 397.0, 912.0, 760.0), (10.0, 10.0, 20.0, 20.0))),
    ]
    assert not markup.problems
    first = markup.regions[0]
    assert PAGE[first.start : first.end] == "<|ref|>title<|/ref|><|det|>[[88, 76, 557, 109]]<|/det|>"


def test_both_spellings_of_the_closing_tags() -> None:
    assert parse_markup("<|ref|>a</|ref|><|det|>[[1,2,3,4]]</|det|>").regions == (
        Region("a", ((1.0, 2.0, 3.0, 4.0),), 0, 42),
    )
    assert parse_markup("<|ref|>a<|/ref|> \n <|det|> [ [1,2, 3,4] ] </|det|>").regions[0].label == "a"


def test_plain_text_has_no_markup_and_shows_pictures() -> None:
    markup = parse_markup(PAGE)
    assert markup.plain() == "# Where does the time go?\n\n\nrest"
    assert markup.plain([(), ("images/0.jpg",)]) == "# Where does the time go?\n\n![](images/0.jpg)\n\nrest"
    assert parse_markup("a <|ref|> b </|det|> c").plain() == "a  b  c"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<|ref|>a", "where close ref belongs"),
        ("<|ref|>a<|/ref|><|det|>[[1,2,3,4]]", "where close det belongs"),
        ("<|ref|>a<|/ref|><|det|>[[1,2,3]]<|/det|>", "no list of boxes"),
        ("<|ref|>a<|/ref|><|det|>[1,2,3,4]<|/det|>", "no list of boxes"),
        ("<|ref|>a<|/ref|><|det|>[]<|/det|>", "no list of boxes"),
        ("<|ref|>a<|/ref|><|det|>[[1,2,3,1000]]<|/det|>", "above 999"),
        ("<|ref|>a<|/ref|><|det|>[[1,2,3,-4]]<|/det|>", "no list of boxes"),
        ("<|ref|>a<|/ref|><|det|>__import__('os')<|/det|>", "no list of boxes"),
        ("<|ref|><|/ref|><|det|>[[1,2,3,4]]<|/det|>", "a label of 0"),
        (f"<|ref|>{'a' * 65}<|/ref|><|det|>[[1,2,3,4]]<|/det|>", "a label of 65"),
        ("<|ref|>a<|/ref|> text <|det|>[[1,2,3,4]]<|/det|>", "text between"),
        ("<|det|>[[1,2,3,4]]<|/det|>", "open det where open ref belongs"),
    ],
)
def test_what_is_malformed_is_named_and_passed_over(text: str, problem: str) -> None:
    markup = parse_markup(text + "<|ref|>ok<|/ref|><|det|>[[1,2,3,4]]<|/det|>")
    assert problem in markup.problems[0]
    assert markup.regions[-1].label == "ok"
    assert not parse_markup(text).regions


def test_corners_are_put_in_order() -> None:
    assert parse_boxes("[[9, 8, 1, 2]]") == ((1.0, 2.0, 9.0, 8.0),)


def test_a_long_broken_text_is_read_once() -> None:
    start = time.process_time()
    markup = parse_markup("<|ref|>" * 100_000)
    parse_boxes("[" + "[1,2,3,4]," * 50_000)
    assert len(markup.problems) == 21
    assert markup.problems[-1] == "and 99980 more"
    assert time.process_time() - start < 10  # quadratic time would be hours


PIECES = st.sampled_from(
    [
        "<|ref|>",
        "<|/ref|>",
        "</|ref|>",
        "<|det|>",
        "<|/det|>",
        "</|det|>",
        "[[1,2,3,4]]",
        "[[",
        "]]",
        "image",
        "9e9",
        " ",
    ]
)


@given(st.lists(PIECES | st.text(max_size=5), max_size=30).map("".join))
def test_any_text_is_parsed_and_regions_are_in_order(text: str) -> None:
    markup = parse_markup(text)
    position = 0
    for region in markup.regions:
        assert position <= region.start < region.end <= len(text)
        position = region.end
    assert "<|ref|>" not in markup.plain()


@given(st.text(alphabet="[],.0123456789 \n", max_size=40))
def test_boxes_are_in_range_or_refused(text: str) -> None:
    boxes = parse_boxes(text)
    if not isinstance(boxes, str):
        for x1, y1, x2, y2 in boxes:
            assert 0 <= x1 <= x2 <= FULL_SCALE
            assert 0 <= y1 <= y2 <= FULL_SCALE


COORDINATE = st.floats(0, FULL_SCALE)


@given(
    st.tuples(COORDINATE, COORDINATE, COORDINATE, COORDINATE),
    st.integers(1, 20_000),
    st.integers(1, 20_000),
)
def test_pixels_are_inside_the_image_and_never_empty(
    box: tuple[float, float, float, float], width: int, height: int
) -> None:
    x1, y1, x2, y2 = box
    left, top, right, bottom = to_pixels((min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)), width, height)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


def test_the_whole_page_is_the_whole_image() -> None:
    assert to_pixels((0, 0, FULL_SCALE, FULL_SCALE), 816, 1056) == (0, 0, 816, 1056)
