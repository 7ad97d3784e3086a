"""What a sweep goes over: splitting of values, products, zipped axes."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.errors import ConfigError
from llm_perf_opt.sweep.axes import Axis, Choice, choose, read_arguments, read_axis, split_values, varied


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,2,4", ["1", "2", "4"]),
        ("1, 2 ,4", ["1", "2", "4"]),
        ("[cpu],[cpu, cuda]", ["[cpu]", "[cpu, cuda]"]),
        ("{a: 1, b: [2, 3]},null", ["{a: 1, b: [2, 3]}", "null"]),
        ('"Hello, world",Hi', ['"Hello, world"', "Hi"]),
        ("'it''s, so',no", ["'it''s, so'", "no"]),
        ("it's,so", ["it's", "so"]),
        ("a[0],b]", ["a[0]", "b]"]),
        ("", [""]),
    ],
)
def test_values_are_split_as_yaml_would_read_them(text: str, values: list[str]) -> None:
    assert split_values(text, "k") == values


PLAIN = st.one_of(
    st.integers(0, 99),
    st.sampled_from(["eager", "ncu.high", "it's", "a b"]),
    st.lists(st.integers(0, 9), max_size=3),
    st.text("ab,'\"[] {}", max_size=5).map(lambda text: text.strip() or "x"),
)


@given(st.lists(PLAIN, min_size=1, max_size=4))
def test_what_yaml_writes_is_split_back(values: list[object]) -> None:
    written = [yaml.safe_dump([value], default_flow_style=True, width=10_000).strip()[1:-1] for value in values]
    assert [yaml.safe_load(part) for part in split_values(",".join(written), "k")] == values


@pytest.mark.parametrize(
    "text", ["infer.batch_size", "=1,2", "k=1,,2", "k=1,", "k=[1,2", "k={a: 1", 'k="a,b', "k=[1,2},3"]
)
def test_what_cannot_be_split_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        read_axis(text)


AXES = st.lists(st.integers(1, 3), max_size=4).map(
    lambda sizes: [Axis(f"k{at}", tuple(map(str, range(size)))) for at, size in enumerate(sizes)]
)


@given(AXES, st.integers(0, 2), st.integers(1, 3))
def test_points_are_the_product_and_zipped_axes_advance_together(axes: list[Axis], together: int, size: int) -> None:
    zipped = [Axis(f"z{at}", tuple(map(str, range(size)))) for at in range(together)]
    points = [{choice.key: choice.value for choice in settings} for settings in choose([], axes, zipped)]
    brute = []
    for values in itertools.product(*(axis.values for axis in axes)):
        for at in range(size if zipped else 1):
            point = dict(zip((axis.key for axis in axes), values, strict=True))
            brute.append(point | {axis.key: axis.values[at] for axis in zipped})
    assert points == brute


def test_several_files_are_an_axis() -> None:
    files, axes = read_arguments(["a.yaml", "k=1,2", "b.yaml"])
    points = choose(files, axes)
    assert [[choice.value for choice in settings] for settings in points] == [
        ["a.yaml", "1"],
        ["a.yaml", "2"],
        ["b.yaml", "1"],
        ["b.yaml", "2"],
    ]
    assert varied(points) == ["config", "k"]
    assert varied(choose([Path("a.yaml")], axes)) == ["k"]


@pytest.mark.parametrize(
    ("axes", "zipped"),
    [
        ([Axis("k", ("1",)), Axis("k", ("2",))], []),
        ([Axis("k", ("1",))], [Axis("k", ("2",))]),
        ([], [Axis("a", ("1", "2")), Axis("b", ("1",))]),
        ([Axis(f"k{at}", tuple("0123456789")) for at in range(5)], []),
    ],
)
def test_what_is_no_sweep_is_refused(axes: list[Axis], zipped: list[Axis]) -> None:
    with pytest.raises(ConfigError):
        choose([], axes, zipped)


def test_a_choice_is_an_override() -> None:
    assert Choice("profiling/ncu@pipeline.ncu", "ncu.high").override == "profiling/ncu@pipeline.ncu=ncu.high"
