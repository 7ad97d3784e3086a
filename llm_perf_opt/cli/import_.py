"""`llmperf import`: files of nsys, ncu and torch.profiler that were captured elsewhere, as a run of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from llm_perf_opt.cli.options import GpuOption, given_gpu, load
from llm_perf_opt.cli.running import RUN_PANEL, JsonOption, OutputOption, command_line, say_answer, summary_of
from llm_perf_opt.errors import ConfigError

app = typer.Typer()

EXAMPLES = """
Examples:
  llmperf import run.sqlite report.ncu-rep trace.json.gz
  llmperf import decode.capture.json.gz decode.json.gz
  llmperf import run.1.sqlite run.2.sqlite --output from-the-cluster
  llmperf import trace.json.gz --range 'decode=^model_step' --range 'prefill=^first_pass$'
  llmperf import raw.csv --gpu "NVIDIA H100 80GB HBM3"
  llmperf import traces-of-64-ranks/ --output job --jobs 8
  llmperf import --resume job
"""


@app.command(epilog=EXAMPLES)
def import_files(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE...", help="What was captured, or folders with it; told by its content."),
    ] = None,
    *,
    output: OutputOption = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            min=1,
            metavar="N",
            help="Files of ranks or nodes that are read at a time; as many as cores unless given.",
            show_default=False,
            rich_help_panel=RUN_PANEL,
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume",
            metavar="RUN",
            help="Go on with an interrupted import; files of ranks or nodes that were read are not read again.",
            show_default=False,
            rich_help_panel=RUN_PANEL,
        ),
    ] = None,
    as_json: JsonOption = False,
    gpu: GpuOption = None,
    ranges: Annotated[
        list[str] | None,
        typer.Option(
            "--range",
            metavar="NAME=REGEX",
            help="Ranges whose names match REGEX are phase NAME (prefill, decode, or any other), and its steps; "
            "may be repeated.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make a run directory of files that were captured elsewhere, and write its reports.

    Files may be nsys reports or their SQLite exports, a kernel table of nsys stats, one ncu report or its raw page,
    one trace of torch.profiler, those of several ranks of one job, or of a capture of CUDA graphs and its replay.
    """
    from llm_perf_opt.cli.progress import Reporter
    from llm_perf_opt.importing import execute
    from llm_perf_opt.importing.importer import phase_rule

    if resume is not None:
        if files or output or gpu or ranges:
            raise ConfigError("--resume takes its files from the run", "leave out everything but --resume RUN")
        plan = execute.plan_resumption(resume.absolute())
    else:
        if not files:
            raise ConfigError("missing argument 'FILE...'", "`llmperf import --help` shows how it is used")
        runs_dir = Path(load(None, {}, None).config.artifacts.runs_dir).absolute()
        rules = [phase_rule(text) for text in ranges or ()]
        place = output.absolute() if output is not None else None
        plan = execute.plan_import(files, runs_dir, place, gpu=given_gpu(gpu), rules=rules)
    with Reporter() as reporter:
        ended = execute.import_files(plan, command_line(), reporter, jobs)
    found = summary_of(ended)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        for file in ended.manifest.imported:
            typer.echo(f"{file.stored or 'not stored'}: {file.source}")
        say_answer(ended, found)
    raise typer.Exit(ended.manifest.exit_code or 0)
