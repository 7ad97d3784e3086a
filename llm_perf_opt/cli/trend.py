"""`llmperf trend`: the figures of many runs over time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llm_perf_opt.analysis.verdict import TOLERANCE_PERCENT
from llm_perf_opt.cli import console
from llm_perf_opt.cli.compare import Tolerance
from llm_perf_opt.cli.running import JsonOption

app = typer.Typer()

EXAMPLES = """
Examples:
  llmperf trend nightly/
  llmperf trend runs/monday runs/tuesday runs/wednesday --figure decode.tpot_ms
  llmperf trend nightly/ --output nightly-page
"""

MANY = 200
"""Runs that take longer to read than anybody waits without being told."""


@app.command(epilog=EXAMPLES)
def trend(
    places: Annotated[
        list[Path], typer.Argument(metavar="DIR|RUNS...", help="Runs, or folders of runs.", show_default=False)
    ],
    *,
    figure: Annotated[
        list[str] | None,
        typer.Option("--figure", metavar="FIGURE", help="Follow this one; may be repeated.", show_default=False),
    ] = None,
    tolerance: Tolerance = TOLERANCE_PERCENT,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", help="Rows of each table, the newest; 0 for all.", min=0)
    ] = 30,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FOLDER",
            help="Also write report.md, report.html, trend.json and a drawing of each figure there.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Follow figures over many runs, series by series, and name the steps that are clear.

    A series is one model, weights, type, inputs and lengths; what else changed is marked in it.
    """
    from llm_perf_opt.analysis.gates import check_figure
    from llm_perf_opt.analysis.metrics import FIGURES as KNOWN
    from llm_perf_opt.analysis.trend import FIGURES
    from llm_perf_opt.artifacts.history import past_runs
    from llm_perf_opt.cli.progress import Reporter, Silent
    from llm_perf_opt.reports.trend import trend_document, write_trend
    from llm_perf_opt.reports.trend_runs import trend_of

    figures = tuple(dict.fromkeys(figure or FIGURES))
    for name in figures:
        check_figure(name, KNOWN)
    runs, passed = past_runs(places)
    with Reporter() as reporter:
        progress = reporter.stage_begins("trend") if len(runs) > MANY else Silent()
        found = trend_of(runs, passed, figures, tolerance_percent=tolerance, progress=progress)
    if as_json:
        typer.echo(found.model_dump_json(indent=2))
    else:
        console.show(trend_document(found, limit=limit, named=console.is_verbose()))
    if output is not None:
        for file in write_trend(found, output):
            console.note(f"wrote {file}")
