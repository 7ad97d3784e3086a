"""`llmperf compare`: two runs, or two folders of runs, side by side, with gates for CI."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from llm_perf_opt.analysis.comparison import HEADLINE
from llm_perf_opt.analysis.verdict import TOLERANCE_PERCENT
from llm_perf_opt.cli import console
from llm_perf_opt.cli.running import JsonOption
from llm_perf_opt.errors import ConfigError, GateError, InconclusiveError

if TYPE_CHECKING:
    from llm_perf_opt.analysis.gates import Gate
    from llm_perf_opt.records.base import Record
    from llm_perf_opt.records.comparison import GateResult
    from llm_perf_opt.reports.document import Document
    from llm_perf_opt.reports.facts import RunFacts

app = typer.Typer()

EXAMPLES = """
Examples:
  llmperf compare runs/before runs/after
  llmperf compare base/ head/ --fail-if 'decode.tpot_ms > +5%'      (folders of five runs or more)
  llmperf compare ab/a ab/b --figure decode.tpot_ms --require-same-output
  llmperf compare imported/before imported/after
  llmperf compare runs/before runs/after --within-launch --fail-if 'e2e.latency_ms > 900'

A limit is [STAGE:]FIGURE > AMOUNT or < AMOUNT. AMOUNT is +5% or -5% (change of B against A), +20 or -20
(B less A in the figure's unit), or 500 (B itself). Quote it: the shell takes > for itself.
"""
GATES_PANEL = "Gates"
FailIf: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--fail-if",
        metavar="LIMIT",
        help="Exit with 4 where B is shown to lie beyond LIMIT, with 5 where that cannot be told; may be repeated.",
        show_default=False,
        rich_help_panel=GATES_PANEL,
    ),
]
SameOutput: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--require-same-output",
        help="Exit with 4 where B says something else to any sample.",
        rich_help_panel=GATES_PANEL,
    ),
]
Figure: TypeAlias = Annotated[
    str, typer.Option("--figure", metavar="FIGURE", help="What the verdict is on, chosen before looking.")
]
Tolerance: TypeAlias = Annotated[
    float, typer.Option("--tolerance", metavar="PERCENT", help="A change below it is none.", min=0.001, max=100)
]


@app.command(epilog=EXAMPLES)
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="The run to compare with, or a folder of such runs.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="The run that is judged, or a folder of such runs.")],
    *,
    fail_if: FailIf = None,
    require_same_output: SameOutput = False,
    figure: Figure = HEADLINE,
    tolerance: Tolerance = TOLERANCE_PERCENT,
    within_launch: Annotated[
        bool,
        typer.Option(
            "--within-launch",
            help="Take the repeats of one launch a side for launches: what is said holds for these launches alone.",
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", metavar="FOLDER", help="Also write comparison.md, .html and .json there.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the figures of B with those of A, and what else differs between them.

    Runs made one after the other are blocks: five a side are the least. `llmperf ab` launches both in turn.

    Where one of them was imported, their captures are compared: kernels, operators, ranges, times of a step. There is
    no verdict then.
    """
    from llm_perf_opt.analysis.comparison import Judging
    from llm_perf_opt.analysis.gates import parse_gate
    from llm_perf_opt.artifacts.run_directory import runs_in
    from llm_perf_opt.cli.report import intact
    from llm_perf_opt.reports.compare_runs import compare_sides
    from llm_perf_opt.reports.comparison import comparison_document
    from llm_perf_opt.reports.facts import read_run

    gates = [parse_gate(expression) for expression in fail_if or ()]
    how = Judging(figure=figure, tolerance_percent=tolerance, within_launch=within_launch)
    sides = [[read_run(run, intact(run)) for run in runs_in(path)] for path in (a, b)]
    if any(run.setup is None for side in sides for run in side):
        _captures(sides, gates, output, as_json=as_json)
        return
    comparison = compare_sides(sides[0], sides[1], gates, how, require_same_output=require_same_output)
    put_out(comparison, comparison_document(comparison), output, as_json=as_json)
    enforce(comparison.gates)


def _captures(
    sides: Sequence[Sequence[RunFacts]], gates: Sequence[Gate], output: Path | None, *, as_json: bool
) -> None:
    """Compare the captures of two runs of which one at least was imported."""
    from llm_perf_opt.reports.compare_captures import captures_document, compare_captures

    if any(len(side) > 1 for side in sides):
        raise ConfigError("imported runs are compared one by one", "name two runs, not a folder of them")
    captures = compare_captures(sides[0][0], sides[1][0])
    put_out(captures, captures_document(captures), output, as_json=as_json)
    if gates:
        listed = ", ".join(gate.expression for gate in gates)
        raise InconclusiveError(f"{len(gates)} of {len(gates)} gates could not be decided: {listed}", captures.reason)


def put_out(comparison: Record, document: Document, output: Path | None, *, as_json: bool) -> None:
    """Print a comparison, and write it where that was asked for."""
    from llm_perf_opt.reports.comparison import write_comparison

    if as_json:
        typer.echo(comparison.model_dump_json(indent=2))
    else:
        console.show(document)
    if output is not None:
        for file in write_comparison(comparison, document, output):
            console.note(f"wrote {file}")


def enforce(gates: tuple[GateResult, ...]) -> None:
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
