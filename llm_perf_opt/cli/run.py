"""`llmperf run`: every enabled stage into one run directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from llm_perf_opt.cli.options import ConfigArguments, ConfigDirs
from llm_perf_opt.cli.running import RUN_PANEL, DryRunOption, JsonOption, OutputOption, resume_run, run_stages
from llm_perf_opt.cli.sizes import sizes_given, with_sizes
from llm_perf_opt.cli.toggles import chosen_stages, with_toggles
from llm_perf_opt.errors import ConfigError

app = typer.Typer()

EXAMPLES = """
Examples:
  llmperf run
  llmperf run my.yaml measure.repeats=5 --output runs/first
  llmperf run my.yaml --nsys --dry-run
  llmperf run path/to/model --prompt "The capital of France is"
  llmperf run path/to/model --prompt-tokens 2048 --batch 8 --max-new-tokens 64
  llmperf run --resume runs/first
"""


@app.command(epilog=EXAMPLES)
@with_sizes
@with_toggles
def run(
    arguments: ConfigArguments = None,
    *,
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
    **given: Any,
) -> None:
    """Run every enabled stage over the same workload, into one run directory.

    Without arguments: static analysis and the PyTorch profiler on the built-in demo.
    """
    sizes = sizes_given(given)
    chosen = {**chosen_stages(given), **sizes}
    if resume is not None:
        if arguments or output or chosen:
            raise ConfigError("--resume takes its configuration from the run", "leave out everything but --resume RUN")
        resume_run(resume, dry_run=dry_run, as_json=as_json)
        return
    run_stages(arguments, options=chosen, config_dirs=config_dirs, output=output, dry_run=dry_run, as_json=as_json)
