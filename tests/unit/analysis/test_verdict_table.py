"""The table of docs/verdicts.md: its page belongs to its script, and a short form of it holds.

The whole is `pytest -m campaign`.
"""

from __future__ import annotations

import re

import pytest

from tests.benchmarks.verdict_table import PAGE, TRIALS, Row, equal_rows, rows, simulate, table, written

TRIALS_HERE = 200
ERRORS = 4.0
"""Standard errors by which a row may miss its limit."""
CHOSEN = [
    Row("different", 5, between=(4.0, 4.0), repeat_ar=0.7),
    Row("different", 5, between=(2.0, 2.0), noise="t3"),
    Row("different", 5, "looks", 20, between=(0.5, 0.5), within=2.0),
    Row("different", 5, "blocks", 1, blocks=0.5),
    Row("slower", 80, "blocks", 5, change_percent=5, blocks=0.5),
    Row("slower", 80, change_percent=5),
    Row("slower", 95, change_percent=2, between=(0.5, 0.5)),
    Row("same", 85, replicates=10, between=(0.5, 0.5)),
    Row("same", 5, replicates=10, between=(0.5, 0.5), change_percent=1.0),
]


@pytest.mark.parametrize("row", CHOSEN, ids=lambda row: f"{row.counted} {row.design} {row.change_percent:g}")
def test_short_form(row: Row) -> None:
    assert row in rows()
    result = simulate(row, TRIALS_HERE)
    assert result.holds(ERRORS), result
    assert result == simulate(row, TRIALS_HERE), "the seed is that of the row"


def test_repeats_as_replicates_would_miss_it() -> None:
    """What the limits are for: the worst row, as it was judged before."""
    result = simulate(CHOSEN[0], TRIALS_HERE)
    assert result.as_repeats_percent is not None
    assert 70 < result.as_repeats_percent < 95


def test_a_limit_that_is_missed_is_said() -> None:
    missed = simulate(Row("slower", 80, change_percent=0.5), 50)
    assert not missed.holds(ERRORS)
    assert "**missed**" in table([missed])
    assert simulate(Row("slower", None, change_percent=0.5), 50).holds()


def cells(line: str) -> tuple[str, ...]:
    """Of a row, but for what is simulated."""
    *what, _, limit, _ = [cell.strip() for cell in line.strip("|").split("|")]
    return (*what, limit)


def test_the_page_has_every_row_and_misses_none() -> None:
    page = PAGE.read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if re.search(r" ± \d", line)]
    assert "missed" not in page
    made = table([simulate(row, 2) for row in rows()]).splitlines()[2:]
    expected = {cells(line.replace(" **missed**", "")) for line in made}
    assert {cells(line) for line in lines} == expected
    assert len(lines) == len(rows()) + 2
    assert f"{TRIALS:,} trials a row" in page


def test_writing_the_page_changes_its_generated_parts_alone() -> None:
    results = [simulate(row, 2) for row in list(equal_rows())[::8]]
    page = PAGE.read_text(encoding="utf-8")
    again = written(page, results)
    assert again != page
    assert written(again, results) == again
    parts = re.compile(r"(<!-- simulated: [^\n]*-->\n).*?(<!-- end -->)", re.DOTALL)
    assert parts.sub(r"\1\2", again) == parts.sub(r"\1\2", page)
