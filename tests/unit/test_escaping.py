"""Text that may be anything, shown as itself in Markdown."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.escaping import as_block, as_line, visible


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("plain words, 3.5 ms (n = 6)", "plain words, 3.5 ms (n = 6)"),
        ("snake_case stays, aten::_mm does not", r"snake_case stays, aten::\_mm does not"),
        ("a *b* [c](d) `e` <f> | g & h ~i~", r"a \*b\* \[c\](d) \`e\` \<f\> \| g \& h \~i\~"),
        ("two\nlines\there", "two lines here"),
        ("# heading", r"\# heading"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
        ("12) item", r"12\) item"),
        ("1.5 ms", "1.5 ms"),
        ("-5 ms", "-5 ms"),
        ("### heading", r"##\# heading"),
        ("---", r"--\-"),
        ("5 ms", "5 ms"),
        ("back\\slash", "back\\\\slash"),
    ],
)
def test_lines(text: str, line: str) -> None:
    assert as_line(text) == line


@given(st.text())
def test_a_line_is_one_line_without_markup(text: str) -> None:
    line = as_line(text)
    assert "\n" not in line
    assert not re.search(r"(?<!\\)(?:\\\\)*[<>\[\]`|*]", line)


@given(st.text(alphabet="`~a \n<"))
def test_nothing_leaves_a_block(text: str) -> None:
    block = as_block(text)
    fence = block.split("text\n", 1)[0]
    body = block[len(fence) + len("text\n") : -len(fence) - 1]
    assert set(fence) == {"`"}
    assert body == text.strip("\n")
    assert fence not in body


def test_control_characters_are_shown_as_such() -> None:
    assert visible("a\x00b\x1b[31m\u202e\r\nok\tend") == "a\ufffdb\ufffd[31m\ufffd\nok\tend"
