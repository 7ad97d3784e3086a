"""The change of a figure, part by part: whatever the profiles hold, the parts add up to it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.analysis.explained import Profiled, device_parts, explain
from llm_perf_opt.records.comparison import Explanation
from llm_perf_opt.records.device_timeline import PhaseTime
from llm_perf_opt.records.tables import KernelRow, OperatorRow, ProfileTables
from llm_perf_opt.records.workload import Profile
from llm_perf_opt.reports.compare_explained import explained_section
from llm_perf_opt.reports.document import Document
from llm_perf_opt.reports.markdown import to_markdown

STEPS = 4
TIMES = st.dictionaries(st.sampled_from(["mm", "add", "copy_"]), st.integers(0, 10**9), max_size=3)
RUN = st.tuples(st.floats(0.0, 1e4), TIMES, TIMES)


def profiled(total_ms: float, operators: dict[str, int], kernels: dict[str, int]) -> Profiled:
    profile = Profile(
        sample=0,
        decode_steps=STEPS,
        activities=("cpu",),
        events=1,
        wall_ms=1.0,
        phase_ms={"decode": total_ms, "prefill": total_ms},
        warmup_runs=0,
    )
    tables = ProfileTables(
        [OperatorRow(phase, name, self_cpu_ns=ns) for phase in ("decode", "prefill") for name, ns in operators.items()],
        [KernelRow(phase, name, total_ns=ns) for phase in ("decode", "prefill") for name, ns in kernels.items()],
    )
    return Profiled(profile, tables)


def explained(figure: str, medians: tuple[float, float], a: list[Profiled], b: list[Profiled]) -> Explanation:
    found = explain(figure, medians, a, b)
    assert found is not None
    return found


@given(
    st.sampled_from(["decode.tpot_ms", "prefill.latency_ms"]),
    st.tuples(st.floats(0.1, 1e4), st.floats(0.1, 1e4)),
    st.lists(RUN, min_size=1, max_size=3),
    st.lists(RUN, min_size=1, max_size=3),
)
def test_parts_and_what_is_left_add_up_to_the_change_of_the_figure(
    figure: str,
    medians: tuple[float, float],
    a: list[tuple[float, dict[str, int], dict[str, int]]],
    b: list[tuple[float, dict[str, int], dict[str, int]]],
) -> None:
    found = explained(figure, medians, [profiled(*run) for run in a], [profiled(*run) for run in b])
    for split in found.splits:
        whole = [part.change_ms for part in split.parts]
        added = math.fsum([*whole, split.unattributed_ms, split.profiling_ms])
        assert added == pytest.approx(medians[1] - medians[0], abs=1e-6)
        assert all((part.noise_ms is None) == (min(len(a), len(b)) < 2) for part in split.parts)
    assert to_markdown(Document("", (explained_section(found),)))


def test_times_of_decode_are_of_one_token_and_the_sentence_names_what_grew() -> None:
    a = [profiled(40.0, {"mm": 20_000_000, "add": 8_000_000}, {})]
    b = [profiled(48.0, {"mm": 27_200_000, "add": 8_000_000}, {})]
    found = explained("decode.tpot_ms", (8.0, 9.6), a, b)
    (split,) = found.splits
    (part,) = split.parts
    assert (part.name, part.a_ms, part.b_ms) == ("mm", 5.0, 6.8)
    assert split.unattributed_ms == pytest.approx(0.2)
    assert split.profiling_ms == pytest.approx(-0.4)
    text = to_markdown(Document("", (explained_section(found),)))
    assert "time per output token +20.0 %: +22.5 from mm, -2.50 from everything else." in text
    assert "One profiled sample a side" in text


def test_a_sample_without_the_phase_explains_nothing() -> None:
    run = profiled(1.0, {"mm": 1}, {})
    without = Profiled(run.profile.model_copy(update={"phase_ms": {}}), run.tables)
    assert explain("decode.tpot_ms", (1.0, 2.0), [run], [without]) is None


def test_the_parts_of_a_device_are_its_wall_time() -> None:
    time = PhaseTime(
        name="decode",
        device=0,
        occurrences=1,
        wall_ns=100,
        busy_ns=70,
        compute_ns=50,
        communication_ns=15,
        exposed_communication_ns=10,
        copy_ns=12,
        exposed_copy_ns=10,
        idle_ns=30,
        idle_by_cause={"launch": 20, "sync": 10},
    )
    assert sum(device_parts(time).values()) == time.wall_ns
