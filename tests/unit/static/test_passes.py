"""Sums in closed form against the same sums written out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.static.attention import Attention
from llm_perf_opt.analysis.static.entries import EntryAttention
from llm_perf_opt.analysis.static.operators import Linear
from llm_perf_opt.analysis.static.passes import Pass, decode_run, decode_step, prefill, prefill_chunks
from llm_perf_opt.analysis.static.rows import KeysInWindow, Together
from llm_perf_opt.analysis.static.source_attention import BothWays


@pytest.mark.parametrize("window", [None, 1, 3, 8, 100])
@pytest.mark.parametrize(("past", "queries"), [(0, 1), (0, 7), (5, 4), (20, 9)])
def test_causal_pairs_are_the_sum_over_queries(window: int | None, past: int, queries: int) -> None:
    seen = [past + i + 1 if window is None else min(window, past + i + 1) for i in range(queries)]
    assert Pass(2, queries, past, 1).pairs(window) == 2 * sum(seen)


@given(st.integers(1, 4), st.integers(1, 40), st.none() | st.integers(0, 50), st.booleans())
def test_positions_that_see_each_other_are_those_within_reach(
    batch: int, tokens: int, reach: int | None, full: bool
) -> None:
    seen = sum(full or reach is None or abs(query - key) <= reach for query in range(tokens) for key in range(tokens))
    assert BothWays("a", 2, 3, reach).flops(Pass(batch, tokens, 0, 1, full=full)) == 2 * batch * seen * 2 * 3


def test_rows_of_a_pass_do_not_grow_with_its_sequences() -> None:
    assert Linear("positions", 4, 5, rows=Together(6)).flops(Pass(3, 7, 0, 1)) == 2 * 6 * 4 * 5


@pytest.mark.parametrize("window", [None, 4, 9, 64])
def test_a_decode_run_is_the_sum_of_its_steps(window: int | None) -> None:
    run, steps = decode_run(3, 6, 10), [decode_step(3, 6 + i) for i in range(10)]
    assert run.tokens == sum(step.tokens for step in steps)
    assert run.tokens_per_step == 3
    assert run.pairs(window) == sum(step.pairs(window) for step in steps)
    assert run.keys() == sum(step.keys() for step in steps)
    assert run.cached_read(window) == sum(step.cached_read(window) for step in steps)
    assert run.cached_written(window) == sum(step.cached_written(window) for step in steps)


@pytest.mark.parametrize("full", [True, False])
def test_decode_attends_the_window_at_most(full: bool) -> None:
    assert Pass(1, 1, 100, 1, full=full).pairs(16) == 16
    assert Pass(1, 1, 10, 1, full=full).pairs(16) == 11
    assert Pass(1, 1, 100, 1, full=full).pairs() == 101


def test_full_prefill_counts_the_whole_square_in_sliding_layers_too() -> None:
    assert prefill(1, 50, all_logits=True, full=True).pairs(8) == 2500
    assert prefill(1, 50, all_logits=True, full=False).pairs(8) == 36 + 42 * 8


def test_chunks_cover_the_prompt_once() -> None:
    whole = prefill(2, 100, all_logits=False, full=False)
    chunks = prefill_chunks(2, 100, 32, all_logits=False, full=False)
    assert [chunk.queries for chunk in chunks] == [32, 32, 32, 4]
    assert sum(chunk.pairs() for chunk in chunks) == whole.pairs()
    assert [chunk.logits for chunk in chunks] == [0, 0, 0, 1]


def test_full_chunks_are_chunk_times_what_is_in_sight() -> None:
    chunks = prefill_chunks(1, 100, 40, all_logits=True, full=True)
    assert sum(chunk.pairs() for chunk in chunks) == 40 * 40 + 40 * 80 + 20 * 100


@pytest.mark.parametrize("chunk", [1, 3, 8, 100])
@pytest.mark.parametrize(("past", "queries"), [(0, 1), (0, 7), (5, 4), (20, 9)])
def test_chunks_see_nothing_of_each_other(chunk: int, past: int, queries: int) -> None:
    seen = [position % chunk + 1 for position in range(past, past + queries)]
    assert Pass(2, queries, past, 1).pairs(chunk, chunked=True) == 2 * sum(seen)
    run = decode_run(2, past, queries)
    steps = [decode_step(2, past + i) for i in range(queries)]
    assert run.pairs(chunk, chunked=True) == sum(step.pairs(chunk, chunked=True) for step in steps)
    assert run.cached_read(chunk, chunked=True) == sum(step.cached_read(chunk, chunked=True) for step in steps)


SIZES = st.integers(0, 40), st.integers(1, 30), st.integers(1, 9)


@given(*SIZES, st.none() | st.integers(1, 5))
def test_entries_are_those_that_a_query_completes_or_follows(
    past: int, queries: int, stride: int, most: int | None
) -> None:
    seen = [(position + 1) // stride for position in range(past, past + queries)]
    seen = seen if most is None else [min(most, entries) for entries in seen]
    step = Pass(3, queries, past, 1)
    assert step.entries(stride, most) == 3 * sum(seen)
    assert step.all_entries(stride) == 3 * queries * ((past + queries) // stride)
    assert decode_run(3, past, queries).entries(stride, most) == 3 * sum(seen)


@given(*SIZES)
def test_what_runs_from_the_start_again_has_all_pairs_of_every_step(past: int, queries: int, stride: int) -> None:
    run = decode_run(2, past, queries)
    assert run.pairs_from_start() == 2 * sum((past + step + 1) ** 2 for step in range(queries))
    assert decode_step(2, past).pairs_from_start() == 2 * (past + 1) ** 2


@given(st.integers(0, 40), st.integers(1, 12), st.integers(2, 9), st.none() | st.integers(1, 3))
def test_entries_in_the_cache_of_every_step_add_up(past: int, steps: int, stride: int, most: int | None) -> None:
    """A run moves what its steps move, and holds what it has written and not yet put into an entry."""
    operator = EntryAttention("", 2, 8, stride, most, cache_elements=16, pending=5, overlap=3)
    run, single = decode_run(2, past, steps), [decode_step(2, past + step) for step in range(steps)]
    assert operator.flops(run) == sum(operator.flops(step) for step in single)
    assert operator.cache_read(run) == sum(operator.cache_read(step) for step in single)
    assert operator.cache_written(run) == sum(operator.cache_written(step) for step in single)
    entries, waiting = divmod(past + steps, stride)
    assert operator.cache_held(past + steps) == 16 * entries + 5 * waiting + (3 if entries else 0)


@given(st.integers(0, 40), st.integers(1, 30), st.integers(1, 5), st.integers(1, 4))
def test_blocks_that_are_selected_and_the_unfinished_one(past: int, queries: int, block: int, chosen: int) -> None:
    operator = Attention("", 1, 1, 0, 0, selected=block * chosen, block=block)
    seen = [min(block * chosen, v // block * block) + v % block for v in range(past + 1, past + queries + 1)]
    assert operator.flops(Pass(2, queries, past, 1)) == 2 * 2 * sum(seen)


@given(st.integers(0, 40), st.integers(1, 12), st.integers(1, 9))
def test_a_sliding_layer_expands_what_it_still_has(past: int, steps: int, window: int) -> None:
    operator = Linear("", 1, 1, rows=KeysInWindow(window))
    expected = sum(min(past + step, window - 1) + 1 for step in range(steps))
    assert operator.flops(decode_run(2, past, steps)) == 2 * 2 * expected
    assert operator.flops(Pass(2, steps, past, 1)) == 2 * 2 * (min(past, window - 1) + steps)


def test_a_number_of_rows_is_of_every_step() -> None:
    assert Linear("", 1, 1, rows=3).flops(decode_run(2, 5, 4)) == 2 * 2 * 3 * 4
