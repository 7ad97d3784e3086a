"""`llmperf doctor`: what this machine can and cannot measure, and how to change that."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from llm_perf_opt.hardware.doctor.finding import Status

_COLOURS = {"ok": "32", "warn": "33", "missing": "31", "unknown": "35"}

app = typer.Typer()

EXAMPLES = """
Examples:
  llmperf doctor
  llmperf doctor --require cuda,nsys
  llmperf doctor --quiet-machine --require load,governor
"""


@app.command(epilog=EXAMPLES)
def doctor(
    require: Annotated[
        str,
        typer.Option(
            "--require",
            metavar="NAMES",
            help="Comma-separated names that must be usable (cuda, nsys, ncu, counters, …), else exit code 3.",
        ),
    ] = "",
    quiet_machine: Annotated[
        bool,
        typer.Option("--quiet-machine", help="Say instead what to switch off so that times are the same twice."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
) -> None:
    """Check Python, torch, GPU, driver, profilers and permissions, with a remedy for whatever is missing."""
    from llm_perf_opt.hardware.doctor import checks
    from llm_perf_opt.hardware.doctor.finding import Surroundings
    from llm_perf_opt.tools.discovery import find_tool

    required = checks.parse_requirements(require, quiet=quiet_machine)
    if sys.stderr.isatty():
        typer.echo("watching for a second …" if quiet_machine else "asking torch in a child process …", err=True)
    findings = checks.examine(Surroundings(find_tool=find_tool), quiet=quiet_machine)
    if as_json:
        import json

        typer.echo(json.dumps(checks.as_json(findings), indent=2))
    else:
        coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        width = min(shutil.get_terminal_size().columns, 100)
        typer.echo(checks.as_text(findings, width, _paint if coloured else None))
    checks.enforce(findings, required, quiet=quiet_machine)


def _paint(word: str, status: Status) -> str:
    return f"\033[{_COLOURS[status]}m{word}\033[0m"
