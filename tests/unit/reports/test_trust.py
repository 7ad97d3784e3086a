"""What a page says of how far its figures may be believed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llm_perf_opt.artifacts.run_directory import read_manifest
from llm_perf_opt.captures.timeline import analyse
from llm_perf_opt.records.machine import MachineMoment, MachineState
from llm_perf_opt.reports.answer import answer_of
from llm_perf_opt.reports.facts import Measured, read_run
from llm_perf_opt.reports.trust import trust_of
from llm_perf_opt.reports.write import summary
from tests import records
from tests.launching import timed, write_run
from tests.unit.timeline.build import Piece, Rows


def said_of(measured: Measured) -> str:
    said = trust_of(records.facts(measured))
    assert said is not None
    assert summary(records.facts(measured))["trust"] == said
    return said


def beside(busy_s: float) -> MachineState:
    """Ten seconds in which this much of two cores went to others."""
    start, end = (
        MachineMoment(moment=name, at_s=at, busy_core_s=busy + at, own_core_s=at, stolen_core_s=0.0)
        for name, at, busy in (("start", 0.0, 0.0), ("end", 10.0, busy_s))
    )
    return MachineState(recorded=True, cores=2, moments=(start, end))


def with_machine(measured: Measured, state: MachineState) -> Measured:
    return replace(measured, launches=tuple(replace(item, machine=state) for item in measured.launches))


def test_nothing_timed_has_nothing_to_believe() -> None:
    assert trust_of(records.facts()) is None


@pytest.mark.parametrize(
    ("repeats", "expected"),
    [
        (1, "1 repeat of one launch gives no interval"),
        (5, "5 repeats of one launch give no interval"),
        (6, "known within -2.44 % and +2.44 % (95 %, 6 repeats of one launch), and another launch may differ by more"),
    ],
)
def test_the_interval_of_one_launch_is_said_to_be_of_one(repeats: int, expected: str) -> None:
    assert expected in said_of(records.measured(timed(repeats=repeats)))


def test_several_launches_speak_of_launches(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", *[timed(1 + number / 100) for number in range(6)], block="one")
    said = trust_of(read_run(run, read_manifest(run)))
    assert said is not None
    assert "(95 %, 6 launches)" in said
    assert "another launch" not in said


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, "what other processes did meanwhile was not recorded"),
        (MachineState(recorded=False, reason="not Linux"), "what other processes did meanwhile was not recorded"),
        (beside(0.2), "other processes did next to nothing meanwhile"),
        (beside(12.0), "other processes kept 1.2 of 2 cores busy meanwhile"),
    ],
)
def test_what_others_did_meanwhile(state: MachineState | None, expected: str) -> None:
    measured = records.measured(timed())
    assert expected in said_of(measured if state is None else with_machine(measured, state))


def test_of_a_capture_alone() -> None:
    work = [Piece(0, 5), Piece(8, 10), Piece(20, 24, name="relu"), Piece(30, 29, name="late")]
    line = analyse(Rows(work=work).events(), "x.json").record
    imported = records.facts(setup=None, records=(records.found("torch_profiler", line),))
    said = trust_of(imported)
    assert said is not None
    assert "this is one recording" in said
    assert "for 100 % of the idle time no launch is recorded" in said
    assert "1 event with times that cannot be is left out" in said
    assert "not known, since imported files come without the model" in said
    assert "Of the time in kernels the most is gemm (GEMM): 63.6 %, in 2 launches." in answer_of(imported)
