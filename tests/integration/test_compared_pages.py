"""The pages of comparisons and of profiled kernels as a reader has them: what is drawn, chosen and fits a phone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llm_perf_opt.analysis.kernels.analyze import analyze_kernels
from llm_perf_opt.artifacts.run_directory import read_manifest
from llm_perf_opt.reports.compare_runs import compare_sides
from llm_perf_opt.reports.comparison import comparison_document
from llm_perf_opt.reports.facts import RunFacts, read_run
from llm_perf_opt.reports.html import to_html
from llm_perf_opt.reports.kernels import kernel_document
from tests.browser import Browser
from tests.integration.test_page import CONTRAST
from tests.launching import launched, timed, write_run
from tests.unit.kernels.test_analysis import MEASURED, made

pytestmark = [pytest.mark.integration, pytest.mark.browser]


def side(path: Path, scale: float, place: int) -> RunFacts:
    launches = [launched(timed(scale * (1 + at / 50)), at, "one", 2 * at + place) for at in range(6)]
    run = write_run(path, *launches, block="one")
    return read_run(run, read_manifest(run))


def test_a_comparison_has_strips_and_intervals(browser: Browser, tmp_path: Path) -> None:
    comparison = compare_sides([side(tmp_path / "a", 1.0, 0)], [side(tmp_path / "b", 1.3, 1)])
    assert comparison.outcome == "slower"
    page = tmp_path / "comparison.html"
    page.write_text(to_html(comparison_document(comparison)), encoding="utf-8")
    compared = sum(bool(figure.a.values) for figure in comparison.stages[0].figures)
    for width in (400, 1280):
        browser.resize(width)
        browser.open(page)
        assert browser.faults == []
        assert browser.eval("document.querySelector('.lead').textContent") == comparison.verdict
        chart = "document.querySelector('figure[data-kind=changes] .stage svg:not([width=\"11\"])')"
        # A bold name a figure; six dots a side; one dot more is the change itself.
        assert browser.eval(f"{chart}.querySelectorAll('text[font-weight]').length") == compared
        names = [figure.name for figure in comparison.stages[0].figures if figure.a.values]
        shown = browser.eval(f"[...{chart}.querySelectorAll('text[font-weight]')].map(n => n.textContent)")
        assert [name[:4] for name in shown] == [name[:4] for name in names]
        assert browser.eval(f"{chart}.querySelectorAll('circle').length") >= 12 * compared
        assert browser.eval("document.documentElement.scrollWidth <= innerWidth")
        assert browser.eval(CONTRAST) == []


def test_a_kernel_is_isolated_by_keyboard(browser: Browser, tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    launches = [
        replace(made({**MEASURED, "gpu__time_duration.sum": ns}, gpu), kernel=name)
        for name, ns, gpu in (("short", 5e3, "L4"), (evil, 9e3, "L4"), ("short", 1e3, "H100"), ("long", 9e4, "L4"))
    ]
    page = tmp_path / "kernels.html"
    page.write_text(to_html(kernel_document(analyze_kernels(launches))), encoding="utf-8")
    browser.resize(1280)
    browser.open(page)
    assert browser.faults == []
    figure = "document.querySelector('figure[data-kind=roofline]')"
    rows = f"[...{figure}.querySelectorAll('.listed tbody tr')].map(row => row.cells[1].textContent)"
    assert browser.eval(rows) == ["1", "1", "2"], "the longest first: long, the evil one, short twice"
    faded = f"[...{figure}.querySelectorAll('circle')].map(dot => dot.getAttribute('opacity') !== '1')"
    assert browser.eval(faded) == [False] * 4
    browser.eval(f"{figure}.querySelectorAll('.listed button')[0].focus()")
    browser.press("Enter")
    said = f"{figure}.querySelector('[role=status]').textContent"
    assert browser.eval(said).startswith("long: fp32, L4, 44.44 MFLOP/s at 4.000 FLOP/B, launch 4")
    assert sum(browser.eval(faded)) == 3
    browser.press("Down", "Down")
    assert browser.eval(said).startswith("short: fp32, L4, 800 MFLOP/s at 4.000 FLOP/B, launch 1")
    assert sum(browser.eval(faded)) == 2
    assert browser.eval(f"{figure}.querySelectorAll('.listed [aria-pressed=true]').length") == 1
    browser.press("Escape")
    assert browser.eval(faded) == [False] * 4
    browser.resize(400)
    assert browser.eval("document.documentElement.scrollWidth <= innerWidth")
    assert browser.eval(CONTRAST) == []
    assert browser.faults == []
