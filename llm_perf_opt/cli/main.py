"""The `llmperf` command: from a command line to an exit code, and the one place where errors are printed.

Imported before anything that takes a while, so that an interrupt is one from the first moment.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from llm_perf_opt.cli import console, interrupts, streams
from llm_perf_opt.errors import LlmperfError

if TYPE_CHECKING:
    import typer

_SHOWN_OF_NAME = 120
_GLOBAL_FLAGS = frozenset({"--debug", "--quiet", "-q", "--verbose", "-v"})


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code (docs/configuration/exit-codes.md lists them)."""
    streams.settle()
    arguments = global_flags_first(list(sys.argv[1:] if argv is None else argv))
    debug = "--debug" in arguments or os.environ.get("LLMPERF_DEBUG", "0") not in ("", "0")
    try:
        with interrupts.raised(last=argv is None):
            code = _run(arguments, debug)
    except KeyboardInterrupt:  # while an error was explained, or once more
        code = 130
    sys.exit(code)


def global_flags_first(arguments: list[str]) -> list[str]:
    """`--debug`, `--quiet` and `--verbose` may stand anywhere before `--`; they belong to the root command."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    ours, rest = arguments[:cut], arguments[cut:]
    flags = [text for text in ours if text in _GLOBAL_FLAGS]
    return [*flags, *(text for text in ours if text not in _GLOBAL_FLAGS), *rest]


def _run(arguments: list[str], debug: bool) -> int:
    """Exit code of one command line; every error ends here."""
    try:
        from llm_perf_opt.cli.app import app

        code = app(arguments, prog_name="llmperf", standalone_mode=False)
    except KeyboardInterrupt:
        code = 130
    except Exception as error:  # noqa: BLE001 - the command line's edge
        code = 130 if interrupts.were_seen() else _explain(error, debug)
    if code == 130:
        console.error("interrupted")
    if (lost := streams.lost_output()) is not None:
        console.error(f"standard output could not be written: {lost.strerror}", "free space where it goes")
        code = code or 1
    return code if isinstance(code, int) else 0


def _explain(error: Exception, debug: bool) -> int:
    """Print an error and its remedy; its exit code."""
    import typer

    if debug and not isinstance(error, (typer.TyperException, typer.Abort)):
        _print_traceback()
    if isinstance(error, LlmperfError):
        console.error(error.message, error.remedy)
        return error.exit_code
    if isinstance(error, typer.TyperException):
        return _usage(error)
    if isinstance(error, typer.Abort):
        console.error("aborted")
        return 1
    if isinstance(error, OSError) and error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
        # Asking whether a file exists raises this too, and any command takes names.
        name = ascii(str(error.filename))
        shown = name if len(name) <= _SHOWN_OF_NAME else f"{name[:_SHOWN_OF_NAME]}… ({len(name):,} characters)"
        console.error(f"{shown} cannot be the name of a file: {error.strerror}", "give a shorter path")
        return 2
    text = " ".join(str(error).split())
    console.error(f"{type(error).__name__}: {text}"[:500], "run again with --debug to see where this comes from")
    return 1


def _usage(error: typer.TyperException) -> int:
    """A mistake on the command line, in the words of every other error."""
    from llm_perf_opt.cli.usage import usage_error

    message, remedy, code = usage_error(error)
    if remedy is None:
        console.plain(message)
    else:
        console.error(message, remedy)
    return code


def _print_traceback() -> None:
    import traceback

    traceback.print_exc()
