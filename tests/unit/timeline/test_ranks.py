"""Ranks against one another: clocks, matching, skew and transfer, and the straggler."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llm_perf_opt.analysis.kernel_names import synchronises
from llm_perf_opt.analysis.timeline.before import Before
from llm_perf_opt.analysis.timeline.clocks import fit
from llm_perf_opt.analysis.timeline.collectives import CollectiveRows, Collectives, Key, collectives_of
from llm_perf_opt.analysis.timeline.host_collectives import host_collectives
from llm_perf_opt.analysis.timeline.intervals import Int
from llm_perf_opt.analysis.timeline.ranks import NOT_LAID, NOTHING, Member, compare
from llm_perf_opt.analysis.timeline.state import analysed
from llm_perf_opt.analysis.timeline.straggler import listed
from llm_perf_opt.formats.torch_events import read_events
from llm_perf_opt.records.columns import ANNOTATION
from tests.unit.timeline.build import Call, Piece, Rows, Span
from tests.unit.timeline.rank_truth import (
    ALL_REDUCE,
    TrueClock,
    TrueCollective,
    collectives,
    late_ns,
    members,
    waited_ns,
)

MS = 10**6
HOUR = 3600 * 10**9


@st.composite
def truths(draw: st.DrawFn) -> tuple[list[TrueCollective], list[TrueClock]]:
    ranks = draw(st.integers(2, 5))
    found, time = [], 0
    for _ in range(draw(st.integers(8, 12))):
        time += draw(st.integers(1, 5 * MS))
        arrivals = tuple(time + draw(st.sampled_from((0, 0, 3, MS)) | st.integers(0, 9 * MS)) for _ in range(ranks))
        time = max(arrivals) + draw(st.integers(1, MS))
        found.append(TrueCollective(arrivals, time))
    clock = st.builds(TrueClock, st.integers(-HOUR, HOUR), st.integers(-50, 50))
    return found, [TrueClock(), *(draw(clock) for _ in range(ranks - 1))]


# Ends that lie close together, so that the first line through them is far from those that do not.
CLOSE = [
    TrueCollective((end - 1,) * 3, end)
    for end in (4607152, 14607153, 20271967, 25271971, 26271972, 27271979, 33271983, 38529326, 39529332, 45287733)
]


@settings(max_examples=25)
@given(truths())
@example((CLOSE, [TrueClock(), TrueClock(-3599999999999, -50), TrueClock(-571985962392, 50)]))
def test_skew_and_lateness_are_what_they_were_whatever_the_clocks_show(
    given_truth: tuple[list[TrueCollective], list[TrueClock]],
) -> None:
    truth, clocks = given_truth
    skews, found = compare(members(truth, clocks))
    assert found.error_ns is not None
    assert found.error_ns <= 6  # clocks show whole nanoseconds
    # Less than the error is told of each collective, and a drift of 50 ppm changes lengths by as much.
    slack = len(truth) * 10 + sum(waited_ns(truth, rank) for rank in range(len(clocks))) // 10_000
    for rank, skew in enumerate(skews):
        assert (skew.rank, skew.compared, skew.reason) == (rank, len(truth), None)
        assert skew.skew_ns == pytest.approx(waited_ns(truth, rank), abs=slack)
        assert skew.late_ns == pytest.approx(late_ns(truth, rank), abs=slack)
        assert skew.transfer_ns is not None
        assert skew.untold_ns is not None
        assert skew.skew_ns is not None
        assert skew.skew_ns + skew.transfer_ns + skew.untold_ns == skew.collectives_ns


@settings(max_examples=25)
@given(truths())
def test_on_one_clock_it_is_exact(given_truth: tuple[list[TrueCollective], list[TrueClock]]) -> None:
    truth, clocks = given_truth
    one_clock = [dataclasses.replace(member, clock=7) for member in members(truth, [TrueClock()] * len(clocks))]
    skews, found = compare(one_clock)
    assert (found.error_ns, found.clocks, found.told) == (0, 1, len(truth))
    for rank, skew in enumerate(skews):
        assert (skew.skew_ns, skew.late_ns) == (waited_ns(truth, rank), late_ns(truth, rank))
        assert skew.transfer_ns == sum(one.end - max(one.arrivals) for one in truth)


@settings(max_examples=25)
@given(truths(), st.randoms(use_true_random=False))
def test_the_order_of_ranks_does_not_matter(
    given_truth: tuple[list[TrueCollective], list[TrueClock]], mixed: random.Random
) -> None:
    ordered = members(*given_truth)
    shuffled = list(ordered)
    mixed.shuffle(shuffled)
    assert compare(shuffled) == compare(ordered)


def jittered(ranks: int, count: int, jitter_ns: int, late: int) -> list[Member]:
    """Ranks whose clocks are hours apart and whose ends disagree; rank 1 is `late` in the fifth."""
    mixed = random.Random(5)
    made = []
    for rank in range(ranks):
        clock = TrueClock(rank * HOUR, 20 * rank)
        times = []
        for number in range(count):
            start = 10 * MS * number + (late if (rank, number) == (1, 5) else 0)
            times.append((clock.shown(start), clock.shown(10 * MS * number + 8 * MS + mixed.randint(0, jitter_ns))))
        made.append(Member(rank, f"r{rank}", rank, collectives(times)))
    return made


def test_less_than_the_error_is_not_told() -> None:
    skews, found = compare(jittered(4, 60, 2000, 900))
    assert (found.straggler, found.largest) == (None, ())
    assert found.error_ns is not None
    assert 1000 <= found.error_ns <= 2000
    assert found.answer.startswith("No straggler can be named: in none of the 60 collectives")
    assert {skew.late_ns for skew in skews} == {0}
    skews, found = compare(jittered(4, 60, 2000, 5 * MS))
    assert found.straggler == 1
    assert skews[1].late_ns == pytest.approx(5 * MS, abs=4000)
    assert skews[1].last == 1
    assert found.largest[0].skew_ns == pytest.approx(5 * MS, abs=4000)
    assert skews[3].drift_ppm == pytest.approx(60, abs=2)  # jitter of 2 µs over 600 ms
    assert skews[3].offset_ns == pytest.approx(3 * HOUR, abs=100_000)


def test_a_clock_is_found_in_spite_of_wrong_ends() -> None:
    time = np.arange(0, 100 * MS, MS)
    shown = time + HOUR + time // 50_000  # 20 ppm
    shown[::7] += 40 * MS
    clock = fit(time, shown)
    assert clock is not None
    assert clock.drift == pytest.approx(20e-6, rel=0.01)
    assert np.abs(clock.laid(shown) - time)[1:7].max() <= 1
    assert np.abs(clock.shown(time) - shown)[1:7].max() <= 1


def test_what_makes_no_clock() -> None:
    time = np.arange(10) * MS
    assert fit(time[:2], time[:2]) is None
    assert fit(time, time * 2) is None  # no clock gains as much


def test_a_clock_is_laid_on_another_through_a_third() -> None:
    first, second = (Key("all_reduce", name, recorded=True, numbered=False) for name in ("group 1", "group 2"))
    ends = [number * 10 * MS for number in range(1, 9)]

    def rank(key: Key, ahead: int, late: int = 0) -> Collectives:
        return collectives([(end - MS + ahead + late, end + ahead) for end in ends], key)

    both = Collectives(
        CollectiveRows.joined([rank(first, HOUR).rows, second_rows(rank(second, HOUR))]),
        (first, second),
        joined_before(rank(first, 0), rank(second, 0)),
        16 * MS,
    )
    skews, found = compare([
        Member(0, "a", 0, rank(first, 0)), Member(1, "b", 1, both), Member(2, "c", 2, rank(second, -HOUR, 500)),
    ])  # fmt: skip
    assert [skew.offset_ns for skew in skews] == [0, HOUR, -HOUR]
    assert (found.straggler, skews[2].late_ns) == (2, 8 * 500)
    assert found.matched_by == ("communicator",)


def second_rows(found: Collectives) -> CollectiveRows:
    return dataclasses.replace(found.rows, key=found.rows.key + 1)


def joined_before(*parts: Collectives) -> Before:
    return dataclasses.replace(parts[0].before, looks=np.concatenate([part.before.looks for part in parts]))


def test_ranks_that_cannot_be_compared_say_why() -> None:
    times = [(number * MS, number * MS + 500) for number in range(1, 10)]
    sends = collectives(
        times, Key("ncclKernel_SendRecv", "stream 0", recorded=False, numbered=False), synchronises=False
    )
    few = collectives(times[:2])
    skews, found = compare(
        [Member(0, "a", 0, few), Member(1, "b", 1, few), Member(2, "c", 2, sends), Member(3, "d", 3, collectives([]))]
    )
    assert [skew.reason for skew in skews][:2] == [NOT_LAID, NOT_LAID]
    assert skews[3].reason == NOTHING
    assert (found.error_ns, found.straggler, skews[0].skew_ns) == (None, None, None)
    assert "Rank 3: no collective was recorded" in found.answer
    assert "Rank 2: no collective was recorded that ends at one time on all ranks" in found.answer
    skews, _ = compare([Member(0, "a", 0, collectives(times))])
    assert skews[0].reason == "no other rank could be read"


def test_a_recording_that_began_later_is_matched_where_that_is_clear() -> None:
    mixed = random.Random(1)
    time, times = 0, []
    for _ in range(40):
        time += mixed.randint(MS, 9 * MS)
        times.append((time, time + 1000))
    late = [(start + HOUR, end + HOUR) for start, end in times[3:]]
    skews, found = compare([Member(0, "a", 0, collectives(times)), Member(1, "b", 1, collectives(late))])
    assert ([skew.compared for skew in skews], found.error_ns, found.notes) == ([37, 37], 2, ())
    assert skews[1].offset_ns == HOUR
    even = [(number * MS, number * MS + 1000) for number in range(40)]
    skews, found = compare([Member(0, "a", 0, collectives(even)), Member(1, "b", 1, collectives(even[3:]))])
    assert [skew.compared for skew in skews] == [0, 0]
    assert found.notes == (
        "rank 1 recorded 37 of the 40 collectives ncclDevKernel_AllReduce on stream 0 of rank 0: which ones is not "
        "clear, and they are not compared.",
    )


def test_captures_of_different_replays_are_not_compared() -> None:
    mixed = random.Random(3)
    ranks = []
    for rank in range(2):
        starts = np.cumsum([mixed.randint(MS, 9 * MS) for _ in range(40)]).tolist()
        ranks.append(Member(rank, "", rank, collectives([(start, start + 1000) for start in starts])))
    skews, found = compare(ranks)
    assert (skews[1].reason, skews[1].skew_ns, found.error_ns) == (NOT_LAID, None, None)


def test_neither_order_of_rows_nor_strangers_matter() -> None:
    rows = [rank_rows(0), rank_rows(5 * MS)]
    plain = compare([Member(n, "", n, collectives_of(analysed(one.events()))) for n, one in enumerate(rows)])
    for one in rows:  # another process, on the same GPU
        one.threads.append(1)
        one.work.append(Piece(3 * MS, 4 * MS, name="ncclDevKernel_AllReduce_Sum", process=1, stream=9))
    mixed = [
        Member(n, "", n, collectives_of(analysed(one.shifted(1000).events(seed=4)), process=0))
        for n, one in enumerate(rows)
    ]
    assert compare(mixed) == plain


def test_ranks_that_are_not_here_are_said() -> None:
    times = [(number * MS, number * MS + 500) for number in range(1, 10)]
    _, found = compare([Member(rank, "", 0, collectives(times)) for rank in (0, 3)], world_size=6)
    assert found.missing == (1, 2, 4, 5)
    assert found.notes[0].startswith("The job has 6 ranks; ranks 1 to 2, 4 to 5 are not here")
    assert listed([4]) == "rank 4"


def rank_rows(wait_ns: int) -> Rows:
    """Three all-reduces and a kernel between them; before the last one the host spends `wait_ns` in `aten::item`."""
    work, calls, spans = [], [], []
    for number in range(3):
        start = number * 10 * MS + (wait_ns if number == 2 else 0)
        calls += [Call(start - 5000, start - 4000, correlation=2 * number + 1)]
        work += [
            Piece(start, number * 10 * MS + 9 * MS, name="ncclDevKernel_AllReduce_Sum", correlation=2 * number + 1)
        ]
    spans.append(Span(19 * MS + 100, 20 * MS + wait_ns - 6000, name="aten::item"))
    return Rows(work=work, calls=calls, spans=spans)


def test_the_straggler_is_named_with_what_it_did() -> None:
    made = [
        Member(rank, f"r{rank}", rank, collectives_of(analysed(rank_rows(wait).events())))
        for rank, wait in enumerate((0, 0, 5 * MS, 0))
    ]
    skews, found = compare(made)
    assert found.straggler == 2
    assert [skew.late_ns for skew in skews] == [0, 0, 5 * MS, 0]
    assert [(row.what, row.late_ns) for row in found.doing] == [("its host was in aten::item", 5 * MS)]
    assert found.answer.startswith(
        "Rank 2 is the straggler: it came last for 1 of 3 collectives, and others waited 5 ms"
    )
    assert found.answer.endswith("most of that time its host was in aten::item.")
    assert (found.largest[0].transfer_ns, found.largest[0].last) == (4 * MS, 2)


def gloo_rows(wait_ns: int) -> Rows:
    """Three all-reduces of gloo that two of its threads take in turn, and the meeting before them, for which every rank
    comes as late as it likes; before the last one the host spends `wait_ns` in `aten::item`."""
    spans = [Span(-50 * MS + 7 * wait_ns, 0, thread=1, name="gloo:barrier", kind=ANNOTATION)]
    for number in range(3):
        start = number * 10 * MS + (wait_ns if number == 2 else 0)
        spans += [
            Span(start - 5000, start - 1000, name="c10d::allreduce_"),
            Span(start, number * 10 * MS + 9 * MS, thread=1 + number % 2, name="gloo:all_reduce", kind=ANNOTATION),
        ]
    spans.append(Span(19 * MS + 100, 20 * MS + wait_ns - 6000, name="aten::item"))
    return Rows(spans=spans, threads=[0, 0, 0], devices=0)


@pytest.mark.parametrize("seed", [None, 3])
def test_ranks_on_cpus_are_compared_by_what_gloo_did_on_the_host(seed: int | None) -> None:
    read = [host_collectives(analysed(gloo_rows(wait).events(seed))) for wait in (0, 5 * MS)]
    found = [one for one in read if one is not None]
    assert [len(one.rows) for one in found] == [4, 4]
    skews, comparison = compare([Member(rank, f"r{rank}", 0, one) for rank, one in enumerate(found)])
    assert (comparison.straggler, comparison.matched_by, comparison.collectives) == (1, ("name of the call",), 3)
    assert [(skew.compared, skew.skew_ns, skew.transfer_ns, skew.late_ns) for skew in skews] == [
        (3, 5 * MS, 22 * MS, 0),
        (3, 0, 22 * MS, 5 * MS),
    ]
    assert [(row.what, row.late_ns) for row in comparison.doing] == [("its host was in aten::item", 5 * MS)]
    assert comparison.largest[0].collective == "all_reduce on gloo"


def test_a_file_without_gloo_has_no_collectives_of_the_host() -> None:
    assert host_collectives(analysed(rank_rows(0).events())) is None


def test_numbers_of_calls_match_recordings_of_different_parts(tmp_path: Path) -> None:
    def event(start_us: int, sequence: int) -> dict[str, object]:
        name = "ncclDevKernel_AllGather_RING_LL(ncclDevKernelArgsStorage<4096ul>)"
        meta = {"Collective name": "_allgather_base", "Process Group Name": "3", "Seq": sequence}
        args = {"device": 0, "stream": 20, "correlation": sequence, **meta}
        return {"ph": "X", "cat": "kernel", "name": name, "pid": 0, "tid": 20, "ts": start_us, "dur": 5, "args": args}

    def read(first: int) -> Collectives:
        path = tmp_path / f"{first}.json"
        path.write_text(json.dumps([event(100 * number, number) for number in range(first, first + 6)]))
        return collectives_of(analysed(read_events(path)))

    assert read(4).keys[0] == Key("_allgather_base", "group 3", recorded=True, numbered=True)
    skews, found = compare([Member(0, "a", 0, read(4)), Member(1, "b", 1, read(6))])
    assert ([skew.compared for skew in skews], found.error_ns) == ([4, 4], 2)


@pytest.mark.parametrize(
    ("name", "one_time"),
    [
        ("ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)", True),
        ("ncclKernel_SendRecv_RING_SIMPLE_Sum_int8_t(ncclDevComm*, unsigned long, ncclWork*)", False),
        ("ncclDevKernel_Broadcast_RING_LL(ncclDevKernelArgsStorage<4096ul>)", False),
        ("ncclDevKernel_Reduce_Sum_f32_RING_LL", False),
        ("ncclDevKernel_ReduceScatter_Sum_bf16_RING_LL", True),
        ("void (anonymous namespace)::multimem_all_reduce_kernel<c10::BFloat16, 16>(c10::BFloat16*)", True),
        ("void vllm::cross_device_reduce_1stage<__nv_bfloat16, 8>(vllm::RankData*)", True),
        ("_allgather_base", True),
        ("allreduce", True),
        ("broadcast", False),
        ("all_to_allv", False),
        ("barrier", True),
    ],
)
def test_what_ends_at_one_time(name: str, one_time: bool) -> None:
    assert synchronises(name) is one_time


def test_keys_name_the_communicator_or_the_stream() -> None:
    assert ALL_REDUCE.where == "stream 0"
    found = collectives_of(analysed(rank_rows(0).events()))
    assert found.keys == (Key("ncclDevKernel_AllReduce_Sum", "stream 0", recorded=False, numbered=False),)


def made_of(shared_data: Path, late_ns: int) -> tuple[list[Member], int]:
    """Eight ranks of a recorded one: clocks an hour apart that drift by 20 ppm more each, rank 3 late for the 41st
    collective; all that came after it is as much later on every rank."""
    found = collectives_of(analysed(read_events(shared_data / "torch" / "b200-eager-vllm.json.gz")))
    assert len(found.rows) == 74
    start, end = found.rows.start_ns.copy(), found.rows.end_ns.copy()
    after = start > start[40]
    start[after] += late_ns
    end[after] += late_ns
    end[40] += late_ns
    ranks = []
    for rank in range(8):
        arrival = start.copy()
        arrival[40] += late_ns if rank == 3 else 0

        def shown(times: Int, rank: int = rank) -> Int:
            drifted: Int = times + rank * HOUR + np.rint((times - start[0]) * (20e-6 * rank)).astype(np.int64)
            return drifted

        rows = dataclasses.replace(found.rows, start_ns=shown(arrival), end_ns=shown(end))
        ranks.append(Member(rank, f"r{rank}", rank, dataclasses.replace(found, rows=rows)))
    return ranks, int(start[40])


@pytest.mark.real_data
def test_ranks_made_of_a_recorded_one(shared_data: Path) -> None:
    ranks, first = made_of(shared_data, 5 * MS)
    skews, found = compare(ranks, world_size=8)
    assert found.straggler == 3
    assert found.error_ns is not None
    assert found.error_ns < 100
    assert found.matched_by == ("communicator", "name and stream of the kernel")
    (row,) = found.largest
    assert (row.last, row.ranks) == (3, 8)
    assert row.start_ns == pytest.approx(first, abs=100)
    for told in (row.skew_ns, row.late_ns, skews[3].late_ns, skews[0].skew_ns, skews[7].skew_ns):
        assert told == pytest.approx(5 * MS, rel=0.01)
    assert [skew.drift_ppm for skew in skews] == pytest.approx([20 * rank for rank in range(8)], abs=0.1)
    ranks, _ = made_of(shared_data, 0)
    assert compare(ranks)[1].straggler is None
