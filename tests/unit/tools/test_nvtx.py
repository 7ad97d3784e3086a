from __future__ import annotations

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.tools.nvtx import folder_names, translate_nvtx_include


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("decode", "decode/"),
        ("decode*", "regex:decode.*/"),
        ("*code", "regex:.*code/"),
        ("de?ode", "regex:de.ode/"),
        ("A::A1", "A::A1/"),
        ("layers.3*", r"regex:layers\.3.*/"),
        ("mine@decode", "mine@decode/"),
        ("mine@decode*", "regex:mine@decode.*/"),
        ("decode/", "decode/"),
        ("prefill/*/sam", "prefill/*/sam"),
        ("[prefill", "[prefill"),
        ("sam]", "sam]"),
        ("regex:dec.*/", "regex:dec.*/"),
        ("regex:dec.*", "regex:dec.*"),
        ("mine@A/", "mine@A/"),
        ("step[17]", "step[17]"),
    ],
)
def test_examples(written: str, sent: str) -> None:
    (item,) = translate_nvtx_include(written)
    assert (item.written, item.sent) == (written, sent)


def test_nothing_and_several() -> None:
    assert translate_nvtx_include(None) == []
    assert translate_nvtx_include("") == []
    assert [item.sent for item in translate_nvtx_include(" prefill ; decode* ;")] == ["prefill/", "regex:decode.*/"]
    assert [item.sent for item in translate_nvtx_include(("a;b", "c"))] == ["a;b/", "c/"]


def test_a_range_with_brackets_comes_with_the_way_to_write_it() -> None:
    (item,) = translate_nvtx_include("step[17]")
    assert item.note is not None
    assert r"write step\[17\]/" in item.note


NAMES = st.text(
    st.characters(codec="ascii", categories=["L", "N", "P", "S"], exclude_characters="/[]*?@;\\!"), min_size=1
)


@given(NAMES)
def test_a_name_becomes_that_push_pop_range_and_is_not_translated_twice(name: str) -> None:
    (item,) = translate_nvtx_include([name])
    if "regex:" in name:
        assert item.sent == name
        return
    assert item.sent == name + "/"
    (again,) = translate_nvtx_include([item.sent])
    assert again.sent == item.sent


@given(st.text("ab.+(*?", min_size=1).filter(lambda text: "*" in text or "?" in text), st.text("ab.+(", max_size=8))
def test_a_glob_matches_what_it_matches_as_a_shell_pattern(glob: str, name: str) -> None:
    (item,) = translate_nvtx_include([glob])
    pattern = item.sent.removeprefix("regex:").removesuffix("/")
    assert item.sent == f"regex:{pattern}/"
    assert (re.fullmatch(pattern, name) is not None) == fnmatch.fnmatchcase(name, glob)


@given(st.text("ab/[]*", min_size=1).filter(lambda text: any(mark in text for mark in "/[]")))
def test_the_tools_own_grammar_passes_untouched(expression: str) -> None:
    (item,) = translate_nvtx_include([expression])
    assert item.sent == expression


def test_folder_names() -> None:
    labels = ["decode", "A::A1", "A  A1", "Decode", "../up", "", "regex:dec.*/", "decode"]
    names = folder_names(labels)
    assert names["decode"] == "decode"
    assert names["A::A1"] == "A__A1"
    assert names["A  A1"] == "A__A1-2"
    assert names["Decode"] == "Decode-2"
    assert names["../up"] == "up"
    assert names[""] == "region"


@given(st.lists(st.text(max_size=200)))
def test_folder_names_are_plain_and_distinct(labels: list[str]) -> None:
    names = folder_names(labels)
    assert set(names) == set(labels)
    assert len({name.lower() for name in names.values()}) == len(names)
    for name in names.values():
        assert re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", name)
        assert len(name) < 100
