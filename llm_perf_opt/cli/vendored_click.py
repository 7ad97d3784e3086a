"""The click that typer carries inside and does not export: named here alone, since a release of typer may move it.

`pyproject.toml` holds typer below the next minor release for it, and tests/unit/workload/test_private_names.py says
what moved.
"""

from __future__ import annotations

import typer
from typer._click import Command, Context, HelpFormatter, Parameter
from typer._click.exceptions import ClickException, NoArgsIsHelpError, NoSuchOption, UsageError
from typer._click.shell_completion import CompletionItem

__all__ = [
    "ClickException",
    "Command",
    "CompletionItem",
    "Context",
    "HelpFormatter",
    "NoArgsIsHelpError",
    "NoSuchOption",
    "Parameter",
    "UsageError",
    "without_completion_options",
]


def without_completion_options(app: typer.Typer) -> None:
    """Leave `--install-completion` out of a command's help; the root command has it."""
    app._add_completion = False
