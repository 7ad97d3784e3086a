"""`llmperf report`: the reports of a run again, from its directory alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llm_perf_opt.errors import ConfigError

app = typer.Typer()

EXAMPLES = """
Examples:
  llmperf report tmp/profile-output/20261122-101500
  llmperf report runs/first --format html --output for-a-colleague
"""


@app.command(epilog=EXAMPLES)
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a run.")],
    formats: Annotated[
        str, typer.Option("--format", metavar="A,B", help="Any of md, html, json, joined by commas.")
    ] = "md,html,json",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="FOLDER", help="Where to write; the run itself if left out.", show_default=False
        ),
    ] = None,
) -> None:
    """Write the reports of a run again, on any machine, from its directory alone."""
    from llm_perf_opt.artifacts.run_directory import read_manifest, refresh_digests
    from llm_perf_opt.reports.facts import read_run
    from llm_perf_opt.reports.write import FORMATS, write_run_reports

    wanted = tuple(name.strip() for name in formats.split(","))
    unknown = [name for name in wanted if name not in FORMATS]
    if unknown:
        raise ConfigError(f"--format {unknown[0]!r} is none of {', '.join(FORMATS)}", "for example --format md,html")
    facts = read_run(run, read_manifest(run))
    for path in write_run_reports(facts, output if output is not None else run, wanted):
        typer.echo(str(path))
    if output is None:
        refresh_digests(run)
