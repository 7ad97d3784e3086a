"""`llmperf report`: the reports of a run again, from its directory alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llm_perf_opt.cli import console
from llm_perf_opt.errors import ConfigError

if TYPE_CHECKING:
    from llm_perf_opt.records.manifest import Manifest
    from llm_perf_opt.reports.attempt import Written

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
    from llm_perf_opt.reports.write import FORMATS

    wanted = tuple(name.strip() for name in formats.split(","))
    unknown = [name for name in wanted if name not in FORMATS]
    if unknown:
        raise ConfigError(f"--format {unknown[0]!r} is none of {', '.join(FORMATS)}", "for example --format md,html")
    manifest = intact(run)
    written = _write_into(run, manifest, wanted) if output is None else _write_elsewhere(run, manifest, output, wanted)
    for path in written.files:
        typer.echo(str(path))
    for defect in written.defects:
        console.error(defect.message)
    raise typer.Exit(max((defect.exit_code for defect in written.defects), default=0))


def intact(run: Path) -> Manifest:
    """The manifest of a run whose records are those that it left; files that are only named in reports may be gone.

    Raises:
        MissingError: there is no run, or a record is missing or was changed.
    """
    from llm_perf_opt.artifacts.digests import refuse_damaged
    from llm_perf_opt.artifacts.run_directory import read_manifest

    manifest = read_manifest(run)
    for damage in refuse_damaged(run, manifest):
        console.note(f"{run}: {damage}")
    return manifest


def _write_into(run: Path, manifest: Manifest, formats: tuple[str, ...]) -> Written:
    from llm_perf_opt.artifacts.run_directory import renewing_reports
    from llm_perf_opt.reports.write import write_reports

    with renewing_reports(run) as renewal:
        written = write_reports(run, manifest, formats)
        renewal.files += written.files
        for defect in written.defects:
            renewal.log(f"{defect.message}\n{defect.traceback}")
    return written


def _write_elsewhere(run: Path, manifest: Manifest, folder: Path, formats: tuple[str, ...]) -> Written:
    from llm_perf_opt.reports.facts import read_run
    from llm_perf_opt.reports.write import write_run_reports

    return write_run_reports(read_run(run, manifest), folder, formats)
