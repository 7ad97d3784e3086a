"""Unions of intervals against sets of nanoseconds."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.timeline import intervals
from llm_perf_opt.analysis.timeline.intervals import Cover, Packing, ordered, twice_covered
from llm_perf_opt.records.factor import DENSE, distinct, factorized, looked_up

ROWS = st.lists(st.tuples(st.integers(0, 3), st.integers(-20, 20), st.integers(-3, 15)), max_size=20)


def cover_of(rows: list[tuple[int, int, int]]) -> Cover:
    group, start, length = (
        (np.array(column, np.int64) for column in zip(*rows, strict=True)) if rows else (np.empty(0, np.int64),) * 3
    )
    return Cover.of(Packing(-30, 100), group, start, start + length)


def nanoseconds(rows: list[tuple[int, int, int]], group: int) -> set[int]:
    return {time for owner, start, length in rows if owner == group for time in range(start, start + length)}


@given(ROWS)
def test_covered_time_of_any_window_is_that_of_the_set(rows: list[tuple[int, int, int]]) -> None:
    cover = cover_of(rows)
    for group in range(4):
        held = nanoseconds(rows, group)
        for start in range(-25, 40, 7):
            for end in range(-25, 40, 5):
                window = cover.within(np.array([group]), np.array([start]), np.array([end]))
                assert window[0] == len(held & set(range(start, end)))


@given(ROWS, ROWS)
def test_joined_covers_hold_what_either_holds(
    one: list[tuple[int, int, int]], other: list[tuple[int, int, int]]
) -> None:
    both, together = cover_of(one).joined(cover_of(other)), cover_of(one + other)
    assert both.starts.tolist() == together.starts.tolist()
    assert both.ends.tolist() == together.ends.tolist()


@pytest.mark.parametrize("at_once", [1, 2, 1 << 18])
@given(rows=ROWS)
def test_time_that_is_covered_twice(at_once: int, rows: list[tuple[int, int, int]]) -> None:
    many = Counter(time for _, start, length in rows for time in range(start, start + length))
    start, length = (np.array([row[column] for row in rows if row[2] > 0], np.int64) for column in (1, 2))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intervals, "ROWS_AT_ONCE", at_once)
        assert twice_covered(start.copy(), start + length) == sum(count >= 2 for count in many.values())


def test_times_that_do_not_fit_are_refused() -> None:
    with pytest.raises(OverflowError, match="too far apart"):
        Packing.over(10, np.array([-(2**62), 2**62]))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 9)), max_size=30))
def test_order_is_that_of_the_tuples(rows: list[tuple[int, int, int]]) -> None:
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)] or [np.empty(0, np.int64)] * 3
    assert [rows[position] for position in ordered(*columns).tolist()] == sorted(rows)


@pytest.mark.parametrize("scale", [1, DENSE, DENSE * 1000])
@given(values=st.lists(st.integers(-5, 5), max_size=40), runs=st.integers(1, 6))
def test_distinct_values_are_those_of_numpy(scale: int, values: list[int], runs: int) -> None:
    column = np.repeat(np.array(values, np.int64) * scale, runs)
    unique, inverse = factorized(column)
    assert unique.tolist() == sorted(set(column.tolist())) == distinct(column).tolist()
    assert unique[inverse].tolist() == column.tolist()
    table = np.array([-2 * scale, 0, 3 * scale])
    expected = [table.tolist().index(value) if value in table else -1 for value in column.tolist()]
    assert looked_up(column, table).tolist() == expected
