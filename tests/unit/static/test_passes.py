"""Sums in closed form against the same sums written out."""

from __future__ import annotations

import pytest

from llm_perf_opt.analysis.static.passes import Pass, decode_run, decode_step, prefill, prefill_chunks


@pytest.mark.parametrize("window", [None, 1, 3, 8, 100])
@pytest.mark.parametrize(("past", "queries"), [(0, 1), (0, 7), (5, 4), (20, 9)])
def test_causal_pairs_are_the_sum_over_queries(window: int | None, past: int, queries: int) -> None:
    seen = [past + i + 1 if window is None else min(window, past + i + 1) for i in range(queries)]
    assert Pass(2, queries, past, 1).pairs(window) == 2 * sum(seen)


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
