"""The whole table of docs/verdicts.md, for which it takes minutes: `pytest -m campaign`."""

from __future__ import annotations

import pytest

from tests.benchmarks.verdict_table import PAGE, TRIALS, rows, simulate_all, table, written


@pytest.mark.campaign
@pytest.mark.timeout(3600)
def test_every_row_holds_and_the_page_shows_it() -> None:
    results = simulate_all(rows(), TRIALS)
    missed = [result for result in results if not result.holds()]
    assert not missed, table(missed)
    page = PAGE.read_text(encoding="utf-8")
    assert written(page, results) == page, "run: uv run python -m tests.benchmarks.verdict_table --write"
