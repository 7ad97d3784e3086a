"""`llmperf report`: the reports of a run again, from its directory alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llm_perf_opt.artifacts.layout import BUNDLE, REPORT_HTML, TRACE, rank_dirs, record_dirs, stage_dir
from llm_perf_opt.cli import console
from llm_perf_opt.errors import ConfigError, MissingError

if TYPE_CHECKING:
    from llm_perf_opt.records.manifest import Manifest
    from llm_perf_opt.reports.attempt import Written

app = typer.Typer()

EXAMPLES = """
Examples:
  llmperf report tmp/profile-output/20261122-101500
  llmperf report runs/first --format html --output for-a-colleague
  llmperf report runs/first --open
  llmperf report runs/first --bundle --output .
  llmperf report runs/first --trace
  llmperf report runs/ranks --trace --rank 3
"""


@app.command(epilog=EXAMPLES)
def report(  # noqa: PLR0917 - a command, whose options all have names
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
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    bundle: Annotated[
        bool, typer.Option("--bundle", help="Also write report.zip: the page with gallery and tables, to send.")
    ] = False,
    trace: Annotated[
        bool,
        typer.Option(
            "--trace",
            help="Serve the run's trace on this machine to ui.perfetto.dev, until it is fetched; write nothing.",
        ),
    ] = False,
    rank: Annotated[
        int | None, typer.Option("--rank", metavar="N", help="With --trace: of which rank of several; the first.")
    ] = None,
) -> None:
    """Write the reports of a run again, on any machine, from its directory alone."""
    from llm_perf_opt.reports.write import FORMATS

    if trace:
        _serve_trace(run, rank, open_page=open_page)
        return
    if rank is not None:
        raise ConfigError("--rank needs --trace", "pages show the first rank and the straggler")
    wanted = tuple(name.strip() for name in formats.split(","))
    unknown = [name for name in wanted if name not in FORMATS]
    if unknown:
        raise ConfigError(f"--format {unknown[0]!r} is none of {', '.join(FORMATS)}", "for example --format md,html")
    needed = {"html"} if open_page else set[str]()
    needed |= set(FORMATS) if bundle else set()
    if needed - set(wanted):
        raise ConfigError(
            f"{'--bundle' if bundle else '--open'} needs --format {','.join(sorted(needed))}", "leave --format out"
        )
    manifest = intact(run)
    written = (
        _write_into(run, manifest, wanted, bundle=bundle)
        if output is None
        else _write_elsewhere(run, manifest, output, wanted, bundle=bundle)
    )
    for path in written.files:
        typer.echo(str(path))
    for defect in written.defects:
        console.error(defect.message)
    page = (run if output is None else output) / REPORT_HTML
    if open_page and page in written.files:
        _show(page.absolute().as_uri(), str(page))
    raise typer.Exit(max((defect.exit_code for defect in written.defects), default=0))


def _trace_of(run: Path, rank: int | None) -> Path:
    """The trace of a run's first stage that has one; of several ranks that of `rank`, else of the first.

    Raises:
        MissingError: there is none; the message says of which ranks there are some.
    """
    from llm_perf_opt.artifacts.run_directory import read_manifest

    folders = [folder for stage in read_manifest(run).stages for folder in record_dirs(stage_dir(run, stage))]
    whole = [file for folder in folders if (file := folder / TRACE).is_file()]
    of_ranks = {
        int(place.name.removeprefix("rank-")): file
        for folder in reversed(folders)
        for place in rank_dirs(folder)
        if (file := place / TRACE).is_file()
    }
    if rank is None and (whole or of_ranks):
        return whole[0] if whole else of_ranks[min(of_ranks)]
    if rank is not None and rank in of_ranks:
        return of_ranks[rank]
    if of_ranks:
        there = ", ".join(map(str, sorted(of_ranks)))
        raise MissingError(f"{run} holds no {TRACE} of rank {rank}", f"name one of ranks {there}")
    if whole:
        raise MissingError(f"{run} has no ranks: it ran in one process", "leave --rank out")
    raise MissingError(f"{run} holds no {TRACE}", "run with pipeline.torch_profiler.enable=true, or import a trace")


def _serve_trace(run: Path, rank: int | None, *, open_page: bool) -> None:
    from llm_perf_opt.cli.trace_server import address_of, serve_once

    found = _trace_of(run, rank)

    def ready() -> None:
        address = address_of(found)
        typer.echo(address)
        console.note(f"Open it in a browser on this machine: {found} is served until it is fetched; Ctrl-C stops.")
        if open_page:
            _show(address, address)

    serve_once(found, ready)


def _show(address: str, what: str) -> None:
    import webbrowser

    if not webbrowser.open(address):
        console.note(f"no browser could be started; open {what}")


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


def _write_into(run: Path, manifest: Manifest, formats: tuple[str, ...], *, bundle: bool) -> Written:
    from llm_perf_opt.artifacts.run_directory import renewing_reports
    from llm_perf_opt.reports.write import write_reports

    with renewing_reports(run) as renewal:
        written = write_reports(run, manifest, formats)
        if bundle:
            _bundle(run, manifest, run, written)
        renewal.files += written.files
        for defect in written.defects:
            renewal.log(f"{defect.message}\n{defect.traceback}")
    return written


def _write_elsewhere(run: Path, manifest: Manifest, folder: Path, formats: tuple[str, ...], *, bundle: bool) -> Written:
    from llm_perf_opt.reports.facts import read_run
    from llm_perf_opt.reports.write import write_run_reports

    written = write_run_reports(read_run(run, manifest), folder, formats)
    if bundle:
        _bundle(run, manifest, folder, written)
    return written


def _bundle(run: Path, manifest: Manifest, folder: Path, written: Written) -> None:
    from llm_perf_opt.reports.bundle import write_bundle
    from llm_perf_opt.reports.facts import read_run

    write_bundle(read_run(run, manifest), folder, folder / BUNDLE)
    written.files.append(folder / BUNDLE)
