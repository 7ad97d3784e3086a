"""`llmperf nsys`: the nsys stage alone."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from llm_perf_opt.cli.lazy import TailCommand
from llm_perf_opt.cli.options import ConfigArguments, ConfigDirs
from llm_perf_opt.cli.running import DryRunOption, JsonOption, OutputOption, only, run_stages, workload_after
from llm_perf_opt.cli.sizes import sizes_given, with_sizes

app = typer.Typer()
CAPTURE_PANEL = "The capture"

EXAMPLES = """
Examples:
  llmperf nsys --capture-range nvtx --nvtx-capture decode --capture-range-end stop
  llmperf nsys pipeline.nsys.trace=cuda,nvtx -- python my_script.py
"""


@app.command(cls=TailCommand, epilog=EXAMPLES)
@with_sizes
def nsys(
    context: typer.Context,
    arguments: ConfigArguments = None,
    *,
    capture_range: Annotated[
        str | None,
        typer.Option(
            "--capture-range",
            metavar="TRIGGER",
            help="none, nvtx, cudaProfilerApi or hotkey.",
            show_default=False,
            rich_help_panel=CAPTURE_PANEL,
        ),
    ] = None,
    nvtx_capture: Annotated[
        str | None,
        typer.Option(
            "--nvtx-capture",
            metavar="RANGE",
            help="The range that opens the capture: name, name@domain or name@*.",
            show_default=False,
            rich_help_panel=CAPTURE_PANEL,
        ),
    ] = None,
    capture_range_end: Annotated[
        str | None,
        typer.Option(
            "--capture-range-end",
            metavar="WHAT",
            help="none, stop, stop-shutdown, repeat[:N] or repeat-shutdown:N.",
            show_default=False,
            rich_help_panel=CAPTURE_PANEL,
        ),
    ] = None,
    output: OutputOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    config_dirs: ConfigDirs = None,
    **given: Any,
) -> None:
    """Capture a timeline of the workload, or of the command after `--`, with Nsight Systems."""
    chosen = {
        "pipeline.nsys.capture_range": capture_range,
        "pipeline.nsys.nvtx_capture": nvtx_capture,
        "pipeline.nsys.capture_range_end": capture_range_end,
    }
    run_stages(
        arguments,
        options={**only("nsys"), **chosen, **sizes_given(given), **workload_after(context)},
        config_dirs=config_dirs,
        output=output,
        dry_run=dry_run,
        as_json=as_json,
    )
