"""docs/metrics.md says what the code computes."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from llm_perf_opt.analysis.metrics import stage_metrics
from llm_perf_opt.reports.markdown import to_markdown
from tests.records import NOT_WATCHED, PEAKS, work, workload

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "metrics.md").read_text(encoding="utf-8")


def test_the_worked_example_is_what_its_script_prints() -> None:
    script = runpy.run_path(str(DOCS / "metrics_example.py"))
    printed = to_markdown(script["figures"]())
    for part in re.split(r"^#+ .*\n", printed, flags=re.MULTILINE):
        assert part.strip() in PAGE


def test_the_example_worked_by_hand() -> None:
    layer = 2 * 2048 * 2048 + 2 * 2048 * 512 + 3 * 2048 * 8192
    head, attention = 2048 * 128_256, 4 * 32 * 64 * 16
    keys = 1001 + 1002 + 1003 + 1004
    prefill = 2 * 16 * layer * 1000 + 2 * head + attention * 1000 * 1001 // 2
    decode = 4 * 2 * (16 * layer + head) + attention * keys
    moved = 4 * 2 * (16 * layer + head + 33 * 2048) + 16 * 2 * 512 * 2 * keys + 4 * 2 * 2048
    for number in (layer, head, prefill, decode):
        assert f"{number:,}" in PAGE
    assert f"{moved / 1e9:.3f}·10⁹" in PAGE


def test_every_figure_is_defined() -> None:
    rows = re.findall(r"^\| (`[a-z0-9_.`, ]+`) \| ", PAGE, flags=re.MULTILINE)
    defined = {name for row in rows for name in re.findall(r"[a-z0-9_.]+", row)}
    names = set(stage_metrics(workload(), NOT_WATCHED, work(), PEAKS).metrics)
    assert names <= defined
