"""Leases: one holder at a time, whatever the clocks say."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.sweep.leases import Lease, Leases, Pace

PACE = Pace(beat_s=5, silence_s=90)


class Clock:
    """Time of one process: it may start at any hour."""

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def others(tmp_path: Path) -> Callable[[Clock], Leases]:
    return lambda clock: Leases(tmp_path, PACE, clock)


def test_one_of_two_has_it_until_it_is_released(others: Callable[[Clock], Leases]) -> None:
    one, two = others(Clock()), others(Clock(3600.0))
    lease = one.take("p")
    assert lease is not None
    assert two.take("p") is None
    assert one.take("p") is None
    assert two.take("q") is not None
    lease.release()
    assert two.take("p") is not None


def test_a_holder_that_beats_keeps_it_and_a_silent_one_loses_it(others: Callable[[Clock], Leases]) -> None:
    here, there = Clock(), Clock(-3600.0)
    lease, observer = others(here).take("p"), others(there)
    assert lease is not None
    for _ in range(200):  # an hour of beats
        here.now_s += 18
        there.now_s += 18
        assert lease.keep()
        assert observer.take("p") is None
    there.now_s += 89
    assert observer.take("p") is None
    there.now_s += 1
    taken = observer.take("p")
    assert taken is not None
    here.now_s += 5
    assert not lease.keep(), "it was taken over"
    lease.release()
    assert others(Clock()).take("p") is None, "releasing what was lost frees nothing"


def test_the_time_of_files_is_no_clock(others: Callable[[Clock], Leases], tmp_path: Path) -> None:
    assert others(Clock()).take("p") is not None
    os.utime(tmp_path / "p.lease-1", (2e9, 2e9))  # a server an age ahead
    clock = Clock()
    observer = others(clock)
    assert observer.take("p") is None
    clock.now_s = 89
    assert observer.take("p") is None
    clock.now_s = 90
    assert observer.take("p") is not None


def test_a_disk_that_takes_no_beat_loses_nothing(
    others: Callable[[Clock], Leases], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    lease = others(clock).take("p")
    assert lease is not None

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "utime", refuse)
    clock.now_s = 60
    assert lease.keep()


def test_leases_that_a_person_removed_are_free(others: Callable[[Clock], Leases], tmp_path: Path) -> None:
    observer = others(Clock())
    assert others(Clock()).take("p") is not None
    assert observer.take("p") is None
    (tmp_path / "p.lease-1").unlink()
    observer.take("p")
    assert observer.take("p") is not None


STEPS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["take", "beat", "die", "release", "wait"]), st.integers(1, 100)),
    max_size=40,
)


@given(STEPS)
def test_never_two_holders_that_both_believe_it(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, str, int]]
) -> None:
    """Four processes with clocks hours apart; a holder that beats in time is never robbed."""
    folder = tmp_path_factory.mktemp("leases")
    clocks = [Clock(3600.0 * at) for at in range(4)]
    sweepers = [Leases(folder, PACE, clock) for clock in clocks]
    held: dict[int, Lease] = {}
    last_beat: dict[int, float] = {}
    now_s = 0.0
    for who, what, amount in steps:
        if what == "wait":
            now_s += amount
            for clock in clocks:
                clock.now_s += amount
        elif what == "take" and who not in held:
            lease = sweepers[who].take("p")
            if lease is not None:
                assert all(now_s - last_beat[other] >= PACE.silence_s for other in held), "a live holder was robbed"
                held[who], last_beat[who] = lease, now_s
        elif who in held and what == "beat":
            due = now_s - last_beat[who] >= PACE.beat_s
            if held[who].keep():
                last_beat[who] = now_s if due else last_beat[who]
            else:
                del held[who]
        elif who in held and what == "release":
            held.pop(who).release()
        elif who in held and what == "die":
            sweepers[who] = Leases(folder, PACE, clocks[who])
            last_beat[-who - 1] = last_beat[who]
            held[-who - 1] = held.pop(who)
