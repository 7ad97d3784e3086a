"""Command groups that import a command only when it is invoked.

`--help` and completion list every command from the table alone; the module of a command is imported
when that command runs, shows its own help, or completes its own arguments.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from llm_perf_opt.cli.vendored_click import Command as AnyCommand
from llm_perf_opt.cli.vendored_click import (
    CompletionItem,
    Context,
    HelpFormatter,
    Parameter,
    without_completion_options,
)
from llm_perf_opt.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Lazy:
    """A command that is not imported yet."""

    target: str
    """`module:name` of a Typer app."""
    help: str
    """One line for the list of commands."""


class Command(TyperCommand):
    """A command whose help groups its options by their `rich_help_panel` and keeps the lines of its examples."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        written = {}
        if not ctx.resilient_parsing and not all(arg.rpartition("=")[2] for arg in args):
            written = self.make_parser(ctx).parse_args(args=list(args))[0]
        left = super().parse_args(ctx, args)
        for param in self.params:
            if "" in _each(written.get(param.name)):
                _refuse_empty(param, ctx.params.get(param.name))
        return left

    def collect_usage_pieces(self, ctx: Context) -> list[str]:
        pieces = [self.options_metavar] if self.options_metavar else []
        for param in self.params:
            if isinstance(param, TyperArgument) and param.metavar:
                pieces.append(param.metavar)  # says itself what is optional
            else:
                pieces += param.get_usage_pieces(ctx)
        return pieces

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is None:
                continue
            name, text = record
            if isinstance(param, TyperArgument):
                sections.setdefault("Arguments", []).append((param.metavar or param.name.upper(), text))
            else:
                panel = getattr(param, "rich_help_panel", None) or "Options"
                sections.setdefault(panel, []).append((name, text))
        sections["Options"] = sections.pop("Options", [])  # the general ones last
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: Context, formatter: HelpFormatter) -> None:
        if self.epilog:
            formatter.write_paragraph()
            for line in inspect.cleandoc(self.epilog).splitlines():
                formatter.write(f"{line}\n")


def _each(value: object) -> list[object]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _refuse_empty(param: Parameter, value: object) -> None:
    """An empty path would be this folder, and an empty argument is of a variable that was not set.

    Raises:
        ConfigError: that is what was written for this parameter.
    """
    if isinstance(param, TyperArgument):
        name = f"an argument ({param.metavar})"
    elif Path() in _each(value):
        name = max(param.opts, key=len)
    else:
        return
    raise ConfigError(f"{name} is empty", "is it a variable of the shell that is not set?")


class TailCommand(Command):
    """A command that takes another command line after `--`; `tail(ctx)` gives it."""

    def collect_usage_pieces(self, ctx: Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND...]"]

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        if "--" in args:
            cut = args.index("--")
            ctx.meta[_TAIL] = tuple(args[cut + 1 :])
            args = args[:cut]
        return super().parse_args(ctx, args)


_TAIL = "llmperf.tail"


def tail(ctx: typer.Context) -> tuple[str, ...] | None:
    """What stood after `--` on the command line of a `TailCommand`; None where there was no `--`."""
    found: tuple[str, ...] | None = ctx.meta.get(_TAIL)
    return found


class LazyGroup(TyperGroup):
    """A group whose commands are the entries of `table`, in its order."""

    table: ClassVar[Mapping[str, Lazy]] = {}

    def list_commands(self, ctx: Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: Context, cmd_name: str) -> AnyCommand | None:
        if cmd_name not in self.commands and cmd_name in self.table:
            self.commands[cmd_name] = _import(cmd_name, self.table[cmd_name])
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in self.table.items()])

    def shell_complete(self, ctx: Context, incomplete: str) -> list[CompletionItem]:
        found = [
            CompletionItem(name, help=lazy.help) for name, lazy in self.table.items() if name.startswith(incomplete)
        ]
        return [*found, *super(TyperGroup, self).shell_complete(ctx, incomplete)]


def _import(name: str, lazy: Lazy) -> AnyCommand:
    module, _, attribute = lazy.target.partition(":")
    found: typer.Typer = getattr(importlib.import_module(module), attribute)
    for info in found.registered_commands:
        if info.cls in (None, TyperCommand):
            info.cls = Command
    without_completion_options(found)
    found.rich_markup_mode = None
    found.pretty_exceptions_enable = False
    command = typer.main.get_command(found)
    command.name = name
    return command
