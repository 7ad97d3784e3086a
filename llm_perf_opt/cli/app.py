"""The `llmperf` application: which commands there are."""

from __future__ import annotations

from typing import Annotated

import typer

from llm_perf_opt.cli import console
from llm_perf_opt.cli.lazy import Lazy, LazyGroup

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
    "ab": Lazy("llm_perf_opt.cli.ab:app", "Two configurations in turn until it is clear, with gates."),
    "sweep": Lazy("llm_perf_opt.cli.sweep:app", "The same run at many settings, into one table; resumable."),
    "trend": Lazy("llm_perf_opt.cli.trend:app", "The figures of many runs over time, and their clear steps."),
    "runs": Lazy("llm_perf_opt.cli.runs:app", "The runs below a folder, newest first."),
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
