"""`llmperf torch`: the torch_profiler stage alone."""

from __future__ import annotations

from typing import Any

import typer

from llm_perf_opt.cli.options import ConfigArguments, ConfigDirs
from llm_perf_opt.cli.running import DryRunOption, JsonOption, OutputOption, only, run_stages
from llm_perf_opt.cli.sizes import sizes_given, with_sizes

app = typer.Typer()

EXAMPLES = """
Examples:
  llmperf torch profiling/torch@pipeline.torch_profiler=torch-profiler.max
  llmperf torch my.yaml measure.repeats=10
"""


@app.command(epilog=EXAMPLES)
@with_sizes
def torch(
    arguments: ConfigArguments = None,
    *,
    output: OutputOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    config_dirs: ConfigDirs = None,
    **given: Any,
) -> None:
    """Time the model, then profile one sample with the PyTorch profiler."""
    run_stages(
        arguments,
        options={**only("torch_profiler"), **sizes_given(given)},
        config_dirs=config_dirs,
        output=output,
        dry_run=dry_run,
        as_json=as_json,
    )
