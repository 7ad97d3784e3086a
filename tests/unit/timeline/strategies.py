"""Random small time lines in which everything collides: times, streams, ids, names."""

from __future__ import annotations

from hypothesis import strategies as st

from llm_perf_opt.records.columns import ANNOTATION, COPY, GRAPH, KERNEL, OPERATOR, PUSH_POP, PYTHON, SET
from tests.unit.timeline.build import Call, Piece, Rows, Span, Wait

TIMES = st.integers(0, 40)
LENGTHS = st.integers(0, 12)


@st.composite
def time_lines(draw: st.DrawFn) -> Rows:
    """Three devices, four streams, up to three threads of two processes."""
    threads = draw(st.sampled_from([[0], [0, 0], [0, 1], [0, 0, 1]]))
    devices = draw(st.integers(1, 3))

    def piece() -> st.SearchStrategy[Piece]:
        return st.builds(
            lambda start, length, **rest: Piece(start, start + length, **rest),
            TIMES,
            st.integers(-1, 12),
            device=st.integers(0, devices - 1),
            stream=st.integers(0, 3),
            name=st.sampled_from(["gemm", "ncclDevKernel_AllReduce", "softmax"]),
            kind=st.sampled_from([KERNEL, KERNEL, KERNEL, COPY, SET, GRAPH]),
            process=st.integers(0, max(threads)),
            correlation=st.integers(-1, 8),
        )

    def call() -> st.SearchStrategy[Call]:
        return st.builds(
            lambda start, length, **rest: Call(start, start + length, **rest),
            TIMES,
            LENGTHS,
            thread=st.integers(0, len(threads) - 1),
            name=st.sampled_from(["cudaLaunchKernel", "cudaStreamSynchronize", "cudaMalloc"]),
            correlation=st.integers(0, 8),
        )

    def span() -> st.SearchStrategy[Span]:
        return st.builds(
            lambda start, length, **rest: Span(start, start + length, **rest),
            TIMES,
            LENGTHS,
            thread=st.integers(0, len(threads) - 1),
            name=st.sampled_from(["decode", "prefill", "aten::mm", "work", "ProfilerStep#3"]),
            kind=st.sampled_from([PUSH_POP, ANNOTATION, OPERATOR, PYTHON]),
            domain=st.sampled_from([None, None, "alpha"]),
        )

    def wait() -> st.SearchStrategy[Wait]:
        return st.builds(
            lambda start, length, **rest: Wait(start, start + length, **rest),
            TIMES,
            LENGTHS,
            device=st.integers(0, devices - 1),
            stream=st.integers(0, 3),
            process=st.integers(0, max(threads)),
        )

    return Rows(
        work=draw(st.lists(piece(), max_size=10)),
        calls=draw(st.lists(call(), max_size=8)),
        spans=draw(st.lists(span(), max_size=8)),
        waits=draw(st.lists(wait(), max_size=3)),
        threads=threads,
        devices=devices,
    )
