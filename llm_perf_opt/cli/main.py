"""The `llmperf` command: which commands there are, and the one place where errors are printed."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Annotated, NoReturn

import typer

from llm_perf_opt.cli import console, streams
from llm_perf_opt.cli.lazy import Lazy, LazyGroup
from llm_perf_opt.errors import LlmperfError

COMMANDS = {
    "run": Lazy("llm_perf_opt.cli.run:app", "Run every enabled stage into one run directory."),
    "torch": Lazy("llm_perf_opt.cli.torch:app", "The PyTorch profiler stage alone."),
    "nsys": Lazy("llm_perf_opt.cli.nsys:app", "The Nsight Systems stage alone, around any command."),
    "ncu": Lazy("llm_perf_opt.cli.ncu:app", "The Nsight Compute stage alone, around any command."),
    "kernels": Lazy("llm_perf_opt.cli.kernels:app", "Which kernels take the time, and what limits each."),
    "infer": Lazy("llm_perf_opt.cli.infer:app", "The plain inference stage alone."),
    "import": Lazy("llm_perf_opt.cli.import_:app", "Make a run of files captured elsewhere, and report it."),
    "report": Lazy("llm_perf_opt.cli.report:app", "Write the reports of a run again."),
    "compare": Lazy("llm_perf_opt.cli.compare:app", "Two runs side by side, with gates for CI."),
    "static": Lazy("llm_perf_opt.cli.static:app", "FLOPs, parameters and bytes of a model, without weights."),
    "doctor": Lazy("llm_perf_opt.cli.doctor:app", "What this machine can measure, and how to get the rest."),
    "config": Lazy("llm_perf_opt.cli.config:app", "Check, show, write and migrate configurations."),
}
"""The commands, in the order of `--help`."""


class Commands(LazyGroup):
    """The root group."""

    table = COMMANDS


app = typer.Typer(
    name="llmperf",
    cls=Commands,
    help="Profile the inference of Hugging Face models: where the time goes, and how far it is from the hardware.",
    epilog="Example: llmperf run  (the built-in demo: no GPU, no download, no arguments)",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_GLOBAL_FLAGS = frozenset({"--debug", "--quiet", "-q", "--verbose", "-v"})


def _print_version(asked: bool) -> None:
    if asked:
        from llm_perf_opt import __version__

        typer.echo(f"llmperf {__version__}")
        raise typer.Exit


@app.callback()
def root(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors and results only.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print more about what is done.")] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (also LLMPERF_DEBUG=1).")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    console.set_level(quiet=quiet, verbose=verbose)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code (docs/configuration/exit-codes.md lists them)."""
    streams.settle()
    arguments = global_flags_first(list(sys.argv[1:] if argv is None else argv))
    debug = "--debug" in arguments or os.environ.get("LLMPERF_DEBUG", "0") not in ("", "0")
    with _signals_interrupt():
        sys.exit(_run(arguments, debug))


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    """What a job scheduler or a closed terminal sends first is an interrupt like Ctrl-C; nohup stays as it is."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    changed = [number for number, handler in before.items() if handler is signal.SIG_DFL]
    for number in changed:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)


def global_flags_first(arguments: list[str]) -> list[str]:
    """`--debug`, `--quiet` and `--verbose` may stand anywhere before `--`; they belong to the root command."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    ours, rest = arguments[:cut], arguments[cut:]
    flags = [text for text in ours if text in _GLOBAL_FLAGS]
    return [*flags, *(text for text in ours if text not in _GLOBAL_FLAGS), *rest]


def _run(arguments: list[str], debug: bool) -> int:
    """Exit code of one command line; every error ends here."""
    try:
        code = app(arguments, prog_name="llmperf", standalone_mode=False)
    except KeyboardInterrupt:
        code = 130
    except Exception as error:  # noqa: BLE001 - the command line's edge
        if debug and not isinstance(error, (typer.TyperException, typer.Abort)):
            _print_traceback()
        code = _explain(error)
    if code == 130:
        console.error("interrupted")
    if (lost := streams.lost_output()) is not None:
        console.error(f"standard output could not be written: {lost.strerror}", "free space where it goes")
        code = code or 1
    return code if isinstance(code, int) else 0


def _explain(error: Exception) -> int:
    """Print an error and its remedy; its exit code."""
    if isinstance(error, LlmperfError):
        console.error(error.message, error.remedy)
        return error.exit_code
    if isinstance(error, typer.TyperException):
        return _usage(error)
    if isinstance(error, typer.Abort):
        console.error("aborted")
        return 1
    text = " ".join(str(error).split())
    console.error(f"{type(error).__name__}: {text}"[:500], "run again with --debug to see where this comes from")
    return 1


def _usage(error: typer.TyperException) -> int:
    """A mistake on the command line, in the words of every other error."""
    from llm_perf_opt.cli.usage import explain

    message, remedy, code = explain(error)
    if remedy is None:
        typer.echo(message, err=True)
    else:
        console.error(message, remedy)
    return code


def _print_traceback() -> None:
    import traceback

    traceback.print_exc()
