"""`llmperf ncu`: the ncu stage alone."""

from __future__ import annotations

from typing import Any

import typer

from llm_perf_opt.cli.lazy import TailCommand
from llm_perf_opt.cli.options import ConfigArguments, ConfigDirs
from llm_perf_opt.cli.running import DryRunOption, JsonOption, OutputOption, only, run_stages, workload_after
from llm_perf_opt.cli.sizes import sizes_given, with_sizes

app = typer.Typer()

EXAMPLES = """
Examples:
  llmperf ncu
  llmperf ncu pipeline.ncu.ncu_cli.nvtx.include=prefill
  llmperf ncu pipeline.ncu.ncu_cli.launch_count=5 -- python my_script.py
"""


@app.command(cls=TailCommand, epilog=EXAMPLES)
@with_sizes
def ncu(
    context: typer.Context,
    arguments: ConfigArguments = None,
    *,
    output: OutputOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    config_dirs: ConfigDirs = None,
    **given: Any,
) -> None:
    """Profile kernels of the workload, or of the command after `--`, with Nsight Compute.

    Unless told otherwise: the kernels of one decode step. A range of the model, named by nvtx.include, as a whole.
    """
    run_stages(
        arguments,
        options={**only("ncu"), **sizes_given(given), **workload_after(context)},
        config_dirs=config_dirs,
        output=output,
        dry_run=dry_run,
        as_json=as_json,
    )
