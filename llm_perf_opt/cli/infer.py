"""`llmperf infer`: the direct_inference stage alone."""

from __future__ import annotations

from typing import Any

import typer

from llm_perf_opt.cli.options import ConfigArguments, ConfigDirs
from llm_perf_opt.cli.running import DryRunOption, JsonOption, OutputOption, only, run_stages
from llm_perf_opt.cli.sizes import sizes_given, with_sizes

app = typer.Typer()

EXAMPLES = """
Examples:
  llmperf infer path/to/model --prompt "The capital of France is"
  llmperf infer pipeline.direct_inference.output.prediction.enable=true
  llmperf infer my.yaml infer.execution=compile infer.cache=static
"""


@app.command(epilog=EXAMPLES)
@with_sizes
def infer(
    arguments: ConfigArguments = None,
    *,
    output: OutputOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    config_dirs: ConfigDirs = None,
    **given: Any,
) -> None:
    """Time the model and write its predictions, without any profiler."""
    run_stages(
        arguments,
        options={**only("direct_inference"), **sizes_given(given)},
        config_dirs=config_dirs,
        output=output,
        dry_run=dry_run,
        as_json=as_json,
    )
