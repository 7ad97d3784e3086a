"""`llmperf import`: files of nsys, ncu and torch.profiler that were captured elsewhere, as a run of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from llm_perf_opt.artifacts.layout import SUMMARY
from llm_perf_opt.cli.options import load
from llm_perf_opt.cli.running import JsonOption, OutputOption, command_line
from llm_perf_opt.records.manifest import Manifest

app = typer.Typer()

EXAMPLES = """
Examples:
  llmperf import run.sqlite report.ncu-rep trace.json.gz
  llmperf import run.1.sqlite run.2.sqlite --output from-the-cluster
"""


@app.command(epilog=EXAMPLES)
def import_files(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="What was captured; told by its content.")],
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a run directory of files that were captured elsewhere, and write its reports.

    Files may be nsys reports or their SQLite exports, a kernel table of nsys stats, one ncu report or its raw page,
    one trace of torch.profiler.
    """
    runs_dir = Path(load(None, {}, None).config.artifacts.runs_dir).absolute()
    from llm_perf_opt.cli.progress import Reporter
    from llm_perf_opt.importing import execute

    plan = execute.prepare(files, runs_dir, output.absolute() if output is not None else None)
    with Reporter() as reporter:
        manifest = execute.execute(plan, command_line(), reporter)
    if as_json:
        typer.echo(json.dumps(_as_dict(plan.run_path, manifest), indent=2))
    else:
        _say(plan.run_path, manifest)
    raise typer.Exit(manifest.exit_code or 0)


def _as_dict(run_path: Path, manifest: Manifest) -> dict[str, Any]:
    summary = run_path / SUMMARY
    found: dict[str, Any] = json.loads(summary.read_text(encoding="utf-8")) if summary.exists() else {}
    return {"run": str(run_path), "exit_code": manifest.exit_code, **found}


def _say(run_path: Path, manifest: Manifest) -> None:
    for file in manifest.imported:
        typer.echo(f"{file.stored or 'not stored'}: {file.source}")
    here = Path.cwd()
    typer.echo(f"run directory: {run_path.relative_to(here) if run_path.is_relative_to(here) else run_path}")
