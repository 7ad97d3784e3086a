"""How many decode steps of a profile fit, told from two short ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.errors import StageError
from llm_perf_opt.records.workload import ProfileSize
from llm_perf_opt.stages.torch_profiler.child_bounds import Probe


def size(steps: int, base: int, each: int) -> ProfileSize:
    events = base + steps * each
    return ProfileSize(steps=steps, events=events, trace_bytes=20 * events, host_bytes=2000 * events)


@given(base=st.integers(1, 10**6), each=st.integers(1, 10**5), steps=st.integers(1, 10**4))
def test_what_grows_with_the_steps_is_told_exactly(base: int, each: int, steps: int) -> None:
    assert Probe(size(4, base, each), size(12, base, each)).of(steps) == size(steps, base, each)


@given(
    base=st.integers(1, 10**4),
    each=st.integers(1, 10**3),
    wanted=st.integers(2, 500),
    limit=st.integers(1, 10**7),
    free=st.none() | st.integers(1, 10**9),
)
def test_as_many_steps_as_fit_and_not_one_more(base: int, each: int, wanted: int, limit: int, free: int | None) -> None:
    def fits(steps: int) -> bool:
        taken = size(steps, base, each)
        assert taken.host_bytes is not None
        return taken.trace_bytes <= limit and (free is None or taken.host_bytes <= free)

    probe = Probe(size(4, base, each), size(12, base, each))
    if not fits(1):
        with pytest.raises(StageError, match="prefill and one decode step does not fit"):
            probe.most_steps(wanted, limit, free)
        return
    steps, why = probe.most_steps(wanted, limit, free)
    assert fits(steps)
    assert (why is None) == (steps == wanted)
    if why is not None:
        assert not fits(steps + 1)
        assert f"shortened from {wanted:,} to {steps:,} decode steps" in why


def test_a_text_that_ends_within_the_probe_takes_what_the_probe_took() -> None:
    probe = Probe(size(3, 10, 5), size(3, 10, 5))
    assert probe.of(100) == size(3, 10, 5)
    assert probe.most_steps(100, 10**9, None) == (100, None)


def test_a_trace_that_the_profiler_could_not_write_is_said_with_the_room_there_is(tmp_path: Path) -> None:
    """On a full disk Kineto leaves nothing and raises nothing."""
    from llm_perf_opt.stages.torch_profiler.child import _export_trace

    class Full:
        def export_chrome_trace(self, path: str, **_: object) -> None:
            return None

    with pytest.raises(StageError, match=r"could not write its trace into .*, where [\d,]+ bytes are free"):
        _export_trace(Full(), tmp_path / "trace.json.gz")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
