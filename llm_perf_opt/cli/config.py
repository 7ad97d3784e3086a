"""`llmperf config`: check and show configurations."""

from __future__ import annotations

from typing import Annotated

import typer

from llm_perf_opt.cli.options import ConfigArguments, ConfigDirs, load

app = typer.Typer(
    help="Check, show, write and migrate configurations.",
    epilog="Example: llmperf config validate my.yaml",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.command(epilog="Example: llmperf config validate my.yaml pipeline.nsys.enable=true")
def validate(arguments: ConfigArguments = None, config_dirs: ConfigDirs = None) -> None:
    """Check a configuration without running anything."""
    load(arguments, config_dirs=config_dirs)
    typer.echo("valid")


@app.command(epilog="Example: llmperf config show my.yaml --origins")
def show(
    arguments: ConfigArguments = None,
    config_dirs: ConfigDirs = None,
    origins: Annotated[bool, typer.Option("--origins", help="Say for every value what set it.")] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON instead of YAML.")] = False,
) -> None:
    """Print the whole configuration as it would run."""
    from llm_perf_opt.config import show as texts

    loaded = load(arguments, config_dirs=config_dirs)
    typer.echo(texts.as_text(loaded, origins=origins, json=json), nl=False)
