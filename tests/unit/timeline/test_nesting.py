"""The innermost range and the parent against a search through all rows."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.timeline.nesting import MOST_LAYERS, Nest

ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 14), st.integers(0, 14)), max_size=14)


def nest_of(rows: list[tuple[int, int, int]]) -> Nest:
    columns = [np.array(column, np.int64) for column in zip(*rows, strict=True)] or [np.empty(0, np.int64)] * 3
    return Nest(columns[0].astype(np.int32), columns[1], columns[1] + columns[2])


@given(ROWS)
def test_the_innermost_is_the_open_one_that_started_last(rows: list[tuple[int, int, int]]) -> None:
    nest = nest_of(rows)
    place = {row: position for position, row in enumerate(nest.order.tolist())}
    for thread in range(3):
        for time in range(-2, 31):
            open_ones = [
                row
                for row, (owner, start, length) in enumerate(rows)
                if owner == thread and start <= time < start + length
            ]
            expected = max(open_ones, key=place.__getitem__, default=-1)
            assert nest.innermost(np.array([thread]), np.array([time]))[0] == expected


@given(ROWS)
def test_the_parent_is_the_innermost_around_the_start(rows: list[tuple[int, int, int]]) -> None:
    nest = nest_of(rows)
    place = {row: position for position, row in enumerate(nest.order.tolist())}
    for row, (thread, start, _) in enumerate(rows):
        around = [
            other
            for other, (owner, begun, length) in enumerate(rows)
            if owner == thread and begun <= start < begun + length and place[other] < place[row]
        ]
        assert nest.parents()[row] == max(around, key=place.__getitem__, default=-1)


def test_a_million_deep_is_no_deeper_than_two() -> None:
    depth = 1_000_000
    starts = np.arange(depth)
    nest = Nest(np.zeros(depth, np.int32), starts, 3 * depth - starts)
    assert nest.innermost(np.zeros(2, np.int32), np.array([depth // 2, 3 * depth - 2])).tolist() == [depth // 2, 1]
    assert nest.parents()[:3].tolist() == [-1, 0, 1]


def test_stairs_of_more_steps_than_layers_are_cut_and_end() -> None:
    steps = 3 * MOST_LAYERS
    starts = np.arange(steps)
    nest = Nest(np.zeros(steps, np.int32), starts, starts + steps)
    assert nest.innermost(np.zeros(1, np.int32), np.array([steps - 1]))[0] == steps - 1
