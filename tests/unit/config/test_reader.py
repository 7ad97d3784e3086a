"""Reading YAML: places of values, and an answer instead of a traceback for every kind of bad file."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from llm_perf_opt.config.problems import InvalidConfig, Problem
from llm_perf_opt.config.reader import MAX_DEPTH, MAX_FILE_BYTES, MAX_NODES, parse, read_file
from llm_perf_opt.config.tree import Node, Source, dotted, find, merge

SOURCE = Source("config", "my.yaml")


def read(text: str) -> tuple[Node | None, list[Problem]]:
    problems: list[Problem] = []
    return parse(text, SOURCE, problems), problems


def test_values_and_their_places() -> None:
    node, problems = read('a:\n  b: [1, two]\n  c: {d: null}\ne: "x"\n')
    assert not problems
    assert node is not None
    assert node.plain() == {"a": {"b": [1, "two"], "c": {"d": None}}, "e": "x"}
    item = find(node, ("a", "b", 1))
    assert item is not None
    assert (item.line, item.column) == (2, 10)
    nested = find(node, ("a", "c", "d"))
    assert nested is not None
    assert nested.place == (3, 7)
    assert (nested.line, nested.column) == (3, 10)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("off", False),
        ("~", None),
        ("0x1F", 31),
        ("1_000", 1000),
        ("1.5e+3", 1500.0),
        ("1e3", "1e3"),
        ("2026-11-22", "2026-11-22"),
        ("'on'", "on"),
        ("decode*", "decode*"),
        ("cuda:0", "cuda:0"),
        ("regex:dec.*/", "regex:dec.*/"),
    ],
)
def test_scalars_are_yaml_1_1_without_dates(text: str, value: object) -> None:
    node, problems = read(text)
    assert not problems
    assert node is not None
    assert node.value == value
    assert type(node.value) is type(value)


BAD = {
    "duplicate": ("a: 1\nb: 2\na: 3\n", (3, 1), "written twice; first in line 1"),
    "nested duplicate": ("a: {b: 1, b: 2}\n", (1, 11), "written twice"),
    "merge key": ("a: &x {b: 1}\nc:\n  <<: *x\n", (3, 3), "merge keys"),
    "python tag": ("a: !!python/object/apply:os.system [ls]\n", (1, 4), "tag !!python/object/apply:os.system"),
    "local tag": ("a: !thing 3\n", (1, 4), "tag !thing"),
    "tag on a key": ("!!str a: 3\n", (1, 1), "is not text"),
    "tab": ("a:\n\tb: 1\n", (2, 1), "a tab"),
    "number as key": ("1: x\n", (1, 1), "the key '1' is not text"),
    "boolean as key": ("on: x\n", (1, 1), "the key 'on' is not text"),
    "null as key": ("~: x\n", (1, 1), "is not text"),
    "list as key": ("? [a]\n: 1\n", (1, 3), "a key must be plain text"),
    "alias as key": ("a: &x b\n*x : 1\n", (2, 1), "an alias cannot be a key"),
    "unknown alias": ("a: *x\n", (1, 4), "no anchor &x"),
    "alias of itself": ("a: &x [*x]\n", (1, 8), "contains itself"),
    "two documents": ("a: 1\n---\nb: 2\n", (2, 1), "second YAML document"),
    "open bracket": ("a: [1, 2\n", (2, 1), "not valid YAML"),
    "bad indentation": ("a: 1\n  b: 2\n", (2, 4), "not valid YAML"),
    "control character": ("a: 1\nb: \x07\n", (2, 4), "U+0007"),
    "base 60": ("a: 1:30\n", (1, 4), "base 60"),
    "octal": ("a: 010\n", (1, 4), "octal"),
    "huge number": ("a: " + "9" * 5000 + "\n", (1, 4), "not a number that can be read"),
    "huge hexadecimal": ("a: 0x" + "f" * 5000 + "\n", (1, 4), "not a number that can be read"),
    "deep": ("a: " + "[" * 100_000, (1, 3 + MAX_DEPTH), "nested deeper"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_yaml_is_answered_at_its_place(name: str) -> None:
    text, place, message = BAD[name]
    _, problems = read(text)
    assert problems, "nothing was found wrong"
    assert (problems[0].line, problems[0].column) == place
    assert message in problems[0].message
    assert problems[0].remedy


def test_alias_bomb_is_bounded() -> None:
    names = "abcdefgh"
    text = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    for before, name in itertools.pairwise(names):
        text += f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    node, problems = read(text)
    assert node is None
    assert f"{MAX_NODES:,}" in problems[0].message


def test_several_mistakes_at_once() -> None:
    _, problems = read("a: 1\na: 2\nb: !x 3\n<<: {}\n")
    assert [problem.line for problem in problems] == [2, 3, 4]


FILES = {
    "binary": (b"\x00\x01\xff\xfe", "not UTF-8"),
    "utf-16": ("a: 1\n".encode("utf-16"), "not UTF-8"),
    "latin-1": ("a: 1\nb: \xe9\n".encode("latin-1"), "not UTF-8"),
    "too large": (b"#" * (MAX_FILE_BYTES + 1), "larger than 4 MiB"),
}


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_text_is_refused(name: str, tmp_path: Path) -> None:
    content, message = FILES[name]
    file = tmp_path / "my.yaml"
    file.write_bytes(content)
    with pytest.raises(InvalidConfig, match=message):
        read_file(file, [])


def test_place_of_a_byte_that_is_not_utf8(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_bytes("a: 1\nb: \xe9\n".encode("latin-1"))
    with pytest.raises(InvalidConfig) as caught:
        read_file(file, [])
    assert (caught.value.problems[0].line, caught.value.problems[0].column) == (2, 4)


def test_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="directory"):
        read_file(tmp_path, [])


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "\N{ZERO WIDTH NO-BREAK SPACE}# a byte order mark\n"])
def test_an_empty_file_sets_nothing(text: str, tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(text, encoding="utf-8")
    problems: list[Problem] = []
    node = read_file(file, problems)
    assert not problems
    assert node is not None
    assert node.value == {}


@pytest.mark.parametrize(("text", "what"), [("- a\n", "a list"), ("word\n", "a single value")])
def test_root_must_be_a_mapping(text: str, what: str, tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(text, encoding="utf-8")
    problems: list[Problem] = []
    assert read_file(file, problems) is None
    assert what in problems[0].message


def test_merge_keeps_places() -> None:
    below, _ = read("a: {b: 1, c: [1, 2]}\nd: {e: 1}\n")
    above, _ = read("\n\na: {c: [3]}\nd: null\n")
    assert below is not None
    assert above is not None
    merged = merge(below, above)
    assert merged.plain() == {"a": {"b": 1, "c": [3]}, "d": None}
    old, new = find(merged, ("a", "b")), find(merged, ("a", "c"))
    assert old is not None
    assert new is not None
    assert (old.line, new.line) == (1, 3)
    assert below.plain() == {"a": {"b": 1, "c": [1, 2]}, "d": {"e": 1}}


def test_dotted() -> None:
    assert dotted(("pipeline", "nsys", "extra_args", 0)) == "pipeline.nsys.extra_args[0]"
