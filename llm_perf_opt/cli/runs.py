"""`llmperf runs`: the run directories below a folder, newest first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llm_perf_opt.cli import console
from llm_perf_opt.cli.running import JsonOption

app = typer.Typer()

EXAMPLES = """
Examples:
  llmperf runs
  llmperf runs nightly/ --limit 5
  llmperf runs --limit 0 --json
"""


@app.command(epilog=EXAMPLES)
def runs(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="Where runs are (default: artifacts.runs_dir).", show_default=False),
    ] = None,
    *,
    limit: Annotated[int, typer.Option("--limit", metavar="N", help="Show the newest N; 0 for all.", min=0)] = 50,
    as_json: JsonOption = False,
) -> None:
    """List the runs below a folder, newest first, with their model, device, status and figures."""
    from llm_perf_opt.artifacts.history import past_runs
    from llm_perf_opt.reports.run_list import list_runs, run_list_document

    found, passed = past_runs([folder if folder is not None else _usual_folder()])
    listed = list_runs(found, passed, limit)
    if as_json:
        typer.echo(listed.model_dump_json(indent=2))
    else:
        console.show(run_list_document(listed, named=console.is_verbose()))


def _usual_folder() -> Path:
    from llm_perf_opt.cli.options import load

    return Path(load([], {}, None).config.artifacts.runs_dir)
