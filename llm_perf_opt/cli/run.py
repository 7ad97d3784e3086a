"""`llmperf run`: every enabled stage into one run directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llm_perf_opt.cli.options import ConfigArguments, ConfigDirs
from llm_perf_opt.cli.running import RUN_PANEL, DryRunOption, JsonOption, OutputOption, resume_run, run_stages
from llm_perf_opt.errors import ConfigError

app = typer.Typer()

EXAMPLES = """
Examples:
  llmperf run
  llmperf run my.yaml measure.repeats=5 --output runs/first
  llmperf run my.yaml --nsys --dry-run
  llmperf run --resume runs/first
"""


@app.command(epilog=EXAMPLES)
def run(
    arguments: ConfigArguments = None,
    *,
    no_static: Annotated[
        bool, typer.Option("--no-static", help="Leave static analysis out.", rich_help_panel="Stages")
    ] = False,
    no_torch: Annotated[
        bool, typer.Option("--no-torch", help="Leave the PyTorch profiler out.", rich_help_panel="Stages")
    ] = False,
    nsys: Annotated[
        bool, typer.Option("--nsys", help="Capture with Nsight Systems too.", rich_help_panel="Stages")
    ] = False,
    ncu: Annotated[
        bool, typer.Option("--ncu", help="Profile kernels with Nsight Compute too.", rich_help_panel="Stages")
    ] = False,
    output: OutputOption = None,
    dry_run: DryRunOption = False,
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume",
            metavar="RUN",
            help="Do what is not completed in this run.",
            show_default=False,
            rich_help_panel=RUN_PANEL,
        ),
    ] = None,
    as_json: JsonOption = False,
    config_dirs: ConfigDirs = None,
) -> None:
    """Run every enabled stage over the same workload, into one run directory.

    Without arguments: static analysis and the PyTorch profiler on the built-in demo.
    """
    chosen = {
        "pipeline.static_analysis.enable": False if no_static else None,
        "pipeline.torch_profiler.enable": False if no_torch else None,
        "pipeline.nsys.enable": True if nsys else None,
        "pipeline.ncu.enable": True if ncu else None,
    }
    if resume is not None:
        if arguments or output or any(value is not None for value in chosen.values()):
            raise ConfigError("--resume takes its configuration from the run", "leave out everything but --resume RUN")
        resume_run(resume, dry_run=dry_run, as_json=as_json)
        return
    options = {path: value for path, value in chosen.items() if value is not None}
    run_stages(arguments, options=options, config_dirs=config_dirs, output=output, dry_run=dry_run, as_json=as_json)
