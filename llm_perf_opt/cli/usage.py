"""Mistakes on the command line, with the nearest thing that would have been right."""

from __future__ import annotations

import typer
from typer.core import TyperGroup

from llm_perf_opt.cli.vendored_click import ClickException, NoArgsIsHelpError, NoSuchOption, UsageError
from llm_perf_opt.nearest import nearest


def usage_error(error: typer.TyperException) -> tuple[str, str | None, int]:
    """Message, remedy (None: print the message as it is) and exit code."""
    if isinstance(error, NoArgsIsHelpError):
        return error.message, None, 2
    if not isinstance(error, ClickException):
        return str(error), "", 2
    message = error.format_message().rstrip(".")
    context = error.ctx if isinstance(error, UsageError) else None
    if context is None:
        return _lower(message), "", error.exit_code
    help_hint = f"`{context.command_path} --help` shows them all"
    if isinstance(error, NoSuchOption):
        options = [
            name for param in context.command.get_params(context) for name in (*param.opts, *param.secondary_opts)
        ]
        options = [name for name in options if name.startswith("--")]
        near = nearest(error.option_name, options)
        return f"no such option: {error.option_name}", f"did you mean {near}? {help_hint}", 2
    if message.startswith("No such command") and isinstance(context.command, TyperGroup):
        typed = message.split("'")[1]
        near = nearest(typed, context.command.list_commands(context))
        return f"no such command: {typed}", f"did you mean {near}? {help_hint}", 2
    return _lower(message), f"`{context.command_path} --help` shows how it is used", error.exit_code


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]
