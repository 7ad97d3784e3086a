"""YAML files of a run: what a damaged or hostile one does to who reads it."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.records.yaml_file import MOST_DEEP, plain_yaml

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="ascii", categories=("L", "N"))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
)


@given(VALUES)
def test_what_is_written_is_read(value: object) -> None:
    class NoAliases(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    assert plain_yaml(yaml.dump(value, Dumper=NoAliases).encode()) == value


def laughs(levels: int) -> str:
    lines = ["a0: &a0 [x, x]"]
    return "\n".join([*lines, *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, levels))])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (laughs(40), "aliases"),
        ("a: &a {b: 1}\nc: *a\n", "aliases"),
        ("a: &a [*a]\n", "aliases"),
        ("[" * (MOST_DEEP + 2) + "]" * (MOST_DEEP + 2), "nested"),
        ("[" * 1_000_000, "nested"),
        ("{a: " * 1_000_000, "nested"),
        ("- " * 1_000_000, "nested"),
        ("? " * 1_000_000, "nested"),
        ("a: !!timestamp x", "tag"),
        ("a: !!int x", "invalid literal"),
        ("a: !!bool x", "tag"),
        ("a: 2026-11-25", "dates"),
        ("a: !!binary aGk=", "bytes"),
        ("a: !!set {b}", "sets"),
        ("1: b", "keys"),
        ("".join(f"{' ' * n}a:\n" for n in range(3_000)), "nested"),
    ],
)
def test_nesting_and_aliases_are_bounded(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        plain_yaml(text.encode())


def test_scalars_may_be_said_twice_and_lines_be_long() -> None:
    assert plain_yaml(b"a: &a x\nb: *a\n") == {"a": "x", "b": "x"}
    assert plain_yaml(b'a: "' + b"[" * 5_000 + b'"\n') == {"a": "[" * 5_000}
