"""Phases and steps by their names."""

from __future__ import annotations

import re

import pytest

from llm_perf_opt.analysis.timeline.steps import Meaning, meaning
from llm_perf_opt.analysis.timeline.summary import summary
from llm_perf_opt.records.columns import ANNOTATION
from tests.unit.timeline.build import Call, Piece, Rows, Span

NAMES = {
    "decode": Meaning("decode", None),
    "ProfilerStep#12": Meaning(None, "ProfilerStep"),
    "step[DECODE bs=32]": Meaning("decode", "step[DECODE bs=32]"),
    "step[EXTEND bs=1]": Meaning("prefill", "step[EXTEND bs=1]"),
    "execute_context_1(888_788544)_generation_0(0)": Meaning("prefill", "execute, 1 in context, 0 in generation"),
    "execute_32_context_0(sq0sk0sqsq0sqsk0)_generation_32(sq32sk55086sqsq32sqsk55086)": Meaning(
        "decode", "execute, 0 in context, 32 in generation"
    ),
    "execute_context_2(9_9)_generation_3(3)": Meaning(None, "execute, 2 in context, 3 in generation"),
    "Step 5 to 9": Meaning(None, "4 steps"),
    "step[7]": Meaning(None, "decode step"),
    "decoder": Meaning(),
}


@pytest.mark.parametrize("name", NAMES)
def test_what_names_say(name: str) -> None:
    assert meaning(name) == NAMES[name]


def test_names_of_the_user_come_first() -> None:
    rules = [("decode", re.compile("^gen"))]
    assert meaning("generate", rules) == Meaning("decode", "decode")
    assert meaning("prefill", rules) == Meaning("prefill", None)


def test_steps_are_grouped_with_their_spread_and_outliers() -> None:
    lengths = [10, 10, 10, 10, 35]
    spans = [
        Span(100 * n, 100 * n + length, name=f"ProfilerStep#{n}", kind=ANNOTATION) for n, length in enumerate(lengths)
    ]
    rows = Rows(work=[Piece(405, 425, correlation=1)], calls=[Call(401, 402, correlation=1)], spans=spans)
    (group,) = summary(rows.events()).steps
    assert (group.steps, group.median_ns, group.mean_ns, group.longest_ns) == (5, 10, 15, 35)
    assert (group.outliers, group.outliers_ns) == (1, 35)
    assert (group.wall_ns, group.busy_ns, group.idle_ns) == (75, 20, 55)


def test_a_rule_makes_any_range_a_phase() -> None:
    rows = Rows(
        work=[Piece(20, 30, correlation=1)],
        calls=[Call(11, 12, correlation=1)],
        spans=[Span(10, 40, name="my generate", kind=ANNOTATION, domain="mine")],
    )
    record = summary(rows.events(), [("decode", re.compile("generate"))])
    assert [(row.name, row.wall_ns, row.busy_ns) for row in record.phases] == [("decode", 30, 10)]
    assert [row.phase for row in record.kernels] == ["decode"]
    assert [(row.name, row.phase, row.steps, row.median_ns) for row in record.steps] == [("decode", "decode", 1, 30)]
    assert summary(rows.events()).phases == ()
