"""`llmperf compare`: two runs side by side, with gates for CI."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llm_perf_opt.cli import console
from llm_perf_opt.cli.running import JsonOption
from llm_perf_opt.errors import GateError, InconclusiveError

if TYPE_CHECKING:
    from llm_perf_opt.records.base import Record
    from llm_perf_opt.records.comparison import GateResult
    from llm_perf_opt.reports.document import Document

app = typer.Typer()

EXAMPLES = """
Examples:
  llmperf compare runs/before runs/after
  llmperf compare imported/before imported/after
  llmperf compare runs/eager runs/compiled --fail-if 'decode.tpot_ms > +5%' --fail-if 'e2e.latency_ms > 900'

A limit is [STAGE:]FIGURE > AMOUNT or < AMOUNT. AMOUNT is +5% or -5% (change of B against A), +20 or -20
(B less A in the figure's unit), or 500 (B itself). Quote it: the shell takes > for itself.
"""


@app.command(epilog=EXAMPLES)
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="The run to compare with.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="The run that is judged.")],
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            "--fail-if",
            metavar="LIMIT",
            help="Exit with 4 where the whole 95 % interval lies beyond LIMIT, with 5 where that cannot be told; "
            "may be repeated.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="FOLDER", help="Also write comparison.md, .html and .json there.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the figures of run B with those of run A, and what else differs between them.

    Where one of them was imported, their captures are compared: kernels, operators, ranges, times of a step. There is
    no verdict then.
    """
    from llm_perf_opt.analysis.gates import parse_gate
    from llm_perf_opt.cli.report import intact
    from llm_perf_opt.reports.compare_captures import captures_document, compare_captures
    from llm_perf_opt.reports.compare_runs import compare_runs
    from llm_perf_opt.reports.comparison import comparison_document
    from llm_perf_opt.reports.facts import read_run

    gates = [parse_gate(expression) for expression in fail_if or ()]
    runs = [read_run(path, intact(path)) for path in (a, b)]
    if any(run.setup is None for run in runs):
        captures = compare_captures(*runs)
        _put_out(captures, captures_document(captures), output, as_json=as_json)
        if gates:
            listed = ", ".join(gate.expression for gate in gates)
            raise InconclusiveError(
                f"{len(gates)} of {len(gates)} gates could not be decided: {listed}", captures.reason
            )
        return
    comparison = compare_runs(runs[0], runs[1], gates)
    _put_out(comparison, comparison_document(comparison), output, as_json=as_json)
    _enforce(comparison.gates)


def _put_out(comparison: Record, document: Document, output: Path | None, *, as_json: bool) -> None:
    """Print a comparison, and write it where that was asked for."""
    from llm_perf_opt.reports.comparison import write_comparison

    if as_json:
        typer.echo(comparison.model_dump_json(indent=2))
    else:
        console.show(document)
    if output is not None:
        for file in write_comparison(comparison, document, output):
            console.note(f"wrote {file}")


def _enforce(gates: tuple[GateResult, ...]) -> None:
    """Raise for gates that were crossed, else for those that could not be decided."""
    crossed = [gate for gate in gates if gate.outcome == "crossed"]
    inconclusive = [gate for gate in gates if gate.outcome == "inconclusive"]
    if crossed:
        raise GateError(
            f"{len(crossed)} of {len(gates)} gates crossed: {_listed(crossed)}",
            "the comparison lists what differs between the runs and which operators changed most",
        )
    if inconclusive:
        reasons = "; ".join(dict.fromkeys(gate.reason for gate in inconclusive))
        raise InconclusiveError(
            f"{len(inconclusive)} of {len(gates)} gates could not be decided: {_listed(inconclusive)}", reasons
        )


def _listed(gates: list[GateResult]) -> str:
    return ", ".join(gate.expression for gate in gates)
