"""Ranges that were sent against those in the reports, and what that explains of a failure."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.records.tools import Failure, RangeCheck
from llm_perf_opt.records.workload import RangesSent
from llm_perf_opt.stages import range_check
from llm_perf_opt.stages.range_check import MOST_DIFFERENCES, check_ranges, differences, explained, range_remarks
from llm_perf_opt.workload.senders import PROBE_RANGE

NEVER = Failure(code="trigger-never-matched", message="nsys waited", remedy="look")
SENT = RangesSent(sender="nvtx", sent={"prefill": 2, "decode": 2})
SILENT = RangesSent(sender=None, reason="it crashed")


@pytest.mark.parametrize(
    ("held", "whole", "waited_for", "expected"),
    [
        ({"prefill": 2, "decode": 2}, True, None, []),
        ({"prefill": 2, "decode": 2, "of a library": 9}, True, None, []),
        ({"prefill": 2}, True, None, ["decode: 2 sent, 0 in the reports"]),
        (
            {"prefill": 1, "decode": 0},
            True,
            None,
            ["decode: 2 sent, 0 in the reports", "prefill: 2 sent, 1 in the reports"],
        ),
        ({"decode": 1}, False, "decode", []),
        ({"decode": 3}, False, "decode", ["decode: 2 sent, 3 in the reports"]),
        ({"prefill": 1}, False, "decode", ["decode: 2 sent, 0 in the reports"]),
        ({"prefill": 1}, False, None, []),
    ],
)
def test_differences(held: dict[str, int], whole: bool, waited_for: str | None, expected: list[str]) -> None:
    assert differences(SENT.sent, held, whole=whole, waited_for=waited_for) == expected


def test_of_a_workload_that_was_ended_only_the_range_waited_for_is_known() -> None:
    assert differences(None, {"decode": 1}, whole=False, waited_for="decode") == []
    assert differences(None, {}, whole=False, waited_for="decode") == ["decode: waited for, and not in the reports"]


COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 4))


@given(sent=COUNTS, held=COUNTS)
def test_a_whole_capture_differs_exactly_where_counts_do(sent: dict[str, int], held: dict[str, int]) -> None:
    found = differences(sent, held, whole=True, waited_for=None)
    assert {line.split(":")[0] for line in found} == {name for name in sent if sent[name] != held.get(name, 0)}
    # A part of a run holds no more than was sent; what is missing from it may lie outside.
    part = differences(sent, held, whole=False, waited_for=None)
    assert {line.split(":")[0] for line in part} == {name for name in sent if held.get(name, 0) > sent[name]}


def test_the_range_of_the_probe_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(range_check, "range_counts", lambda *_: {"prefill": 2, "decode": 2, PROBE_RANGE: 1})
    assert check_ranges(SENT, [Path("run.sqlite")], whole=True, waited_for=None) == RangeCheck(sent=4, held=4)


def test_without_reports_nothing_is_compared() -> None:
    assert check_ranges(SENT, [], whole=True, waited_for=None) == RangeCheck(sent=4, held=None)
    assert check_ranges(None, [], whole=True, waited_for=None) is None


def test_a_range_that_never_came_is_explained_by_what_was_sent() -> None:
    def message(ranges: RangesSent | None, waited_for: str | None) -> str:
        failure = explained(NEVER, ranges, tool="nsys", waited_for=waited_for)
        assert failure is not None
        return failure.message

    assert (
        message(SENT, "deco")
        == "nsys waited; the ranges that the workload sent, all in the default domain: decode, prefill"
    )
    assert (
        message(SENT, "decode") == "nsys waited; the workload sent decode 2 times in the default domain, through nvtx"
    )
    assert message(None, "decode") == message(SENT, None) == "nsys waited"
    silent = explained(NEVER, SILENT, tool="nsys", waited_for="decode")
    assert silent is not None
    assert (silent.code, silent.exit_code) == ("ranges-not-sent", 3)
    assert "it crashed" in silent.message
    disk = NEVER.model_copy(update={"code": "disk-full"})
    assert explained(disk, SILENT, tool="nsys", waited_for="decode") == disk
    assert explained(None, SILENT, tool="nsys", waited_for="decode") is None


def test_remarks_name_the_largest_differences() -> None:
    lines = tuple(f"r{index}: 2 sent, 0 in the reports" for index in range(MOST_DIFFERENCES))
    (remark,) = range_remarks(RangeCheck(sent=9, held=0, differences=lines, differences_left_out=5), SENT, listens=True)
    assert remark.endswith("r2: 2 sent, 0 in the reports; and 22 more")
    assert range_remarks(RangeCheck(sent=4, held=4), SENT, listens=True) == []
    assert range_remarks(None, SILENT, listens=True) == ["the workload sent no NVTX ranges: it crashed"]
    assert range_remarks(None, SILENT, listens=False) == []
