"""`llmperf ab`: two configurations, launched in turn until it is clear which is faster."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llm_perf_opt.analysis.comparison import HEADLINE
from llm_perf_opt.analysis.verdict import TOLERANCE_PERCENT
from llm_perf_opt.cli import console
from llm_perf_opt.cli.compare import FailIf, Figure, SameOutput, Tolerance, enforce, put_out
from llm_perf_opt.cli.options import ConfigDirs, load
from llm_perf_opt.cli.running import (
    RUN_PANEL,
    DryRunOption,
    JsonOption,
    command_line,
    only,
    plan_dict,
    plan_text,
    shown_path,
)
from llm_perf_opt.cli.sizes import sizes_given, with_sizes
from llm_perf_opt.errors import ConfigError

if TYPE_CHECKING:
    from llm_perf_opt.ab.plan import AbPlan
    from llm_perf_opt.config.schema import Config

app = typer.Typer()

EXAMPLES = """
Examples:
  llmperf ab base.yaml head.yaml --fail-if 'decode.tpot_ms > +5%'
  llmperf ab my.yaml --set infer.execution=compile --set infer.cache=static
  llmperf ab path/to/model --prompt-tokens 2048 --prefix-a 'uv run --project ../base' --time-budget 30m
  llmperf ab --resume runs/base-against-head

Launches are made in turn, A B B A B A A B …; looks are taken at 5, 8, 12 and 20 launches a side.
"""
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)([smh]?)")


def _seconds(text: str | None) -> float | None:
    found = _DURATION.fullmatch(text) if text is not None else None
    if text is not None and (found is None or float(found[1]) == 0):
        raise ConfigError(f"--time-budget {text!r} is no time", "write 90s, 30m or 2h")
    return None if found is None else float(found[1]) * _SECONDS[found[2] or "s"]


@app.command(epilog=EXAMPLES)
@with_sizes
def ab(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[A [B]] [OVERRIDES]...",
            help="A YAML file or a model for each side (one: for both; none: the demo), then key=value for both.",
            show_default=False,
        ),
    ] = None,
    *,
    changed: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A setting of B alone; may be repeated.", show_default=False),
    ] = None,
    prefix_a: Annotated[
        str, typer.Option("--prefix-a", metavar="CMD", help="What A's commands begin with.", show_default=False)
    ] = "",
    prefix_b: Annotated[
        str, typer.Option("--prefix-b", metavar="CMD", help="What B's commands begin with.", show_default=False)
    ] = "",
    figure: Figure = HEADLINE,
    tolerance: Tolerance = TOLERANCE_PERCENT,
    fail_if: FailIf = None,
    require_same_output: SameOutput = False,
    time_budget: Annotated[
        str | None,
        typer.Option(
            "--time-budget",
            metavar="TIME",
            help="Begin no further pair of launches that would end after it: 90s, 30m, 2h.",
            show_default=False,
            rich_help_panel=RUN_PANEL,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="DIR",
            help="Folder of both runs and their comparison; must not hold an A/B.",
            show_default=False,
            rich_help_panel=RUN_PANEL,
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(
            "--resume", metavar="DIR", help="Go on with this A/B.", show_default=False, rich_help_panel=RUN_PANEL
        ),
    ] = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    config_dirs: ConfigDirs = None,
    **given: Any,
) -> None:
    """Launch A and B in turn until it is clear which is faster.

    The launch is the replicate: each is a fresh process with its own warm-up and repeats.
    """
    from llm_perf_opt.ab.plan import Asked, launches_of, plan_ab, plan_ab_resumption
    from llm_perf_opt.analysis.gates import parse_gate

    sizes, budget_s = sizes_given(given), _seconds(time_budget)
    if resume is not None:
        if any((arguments, changed, prefix_a, prefix_b, fail_if, require_same_output, output, sizes)):
            raise ConfigError(
                "--resume takes from the A/B what it was asked",
                "leave out everything but --resume DIR and --time-budget",
            )
        plan = plan_ab_resumption(resume.absolute(), budget_s)
    else:
        gates = tuple(parse_gate(expression) for expression in fail_if or ())
        asked = Asked(figure, tolerance, gates, require_same_output, time_budget_s=budget_s)
        options = {**only("direct_inference"), **sizes, "measure.launches": launches_of(asked)}
        a, b = _sides(arguments or [], changed or [], lambda words: load(words, options, config_dirs).config)
        if a == b and prefix_a == prefix_b:
            console.note("A and B are the same: what is found of them is the machine's")
        plan = plan_ab(a, b, asked, (prefix_a, prefix_b), output.absolute() if output is not None else None)
    if dry_run:
        typer.echo(_plan_json(plan) if as_json else _plan_lines(plan))
        return
    _carry_out(plan, as_json=as_json)


def _sides(arguments: list[str], changed: list[str], load_side: Callable[[list[str]], Config]) -> tuple[Config, Config]:
    """The configuration of A and of B."""
    files = [word for word in arguments if "=" not in word]
    overrides = [word for word in arguments if "=" in word]
    if len(files) > 2:
        raise ConfigError(f"more than two sides: {', '.join(files)}", "name A and B")
    wrong = [word for word in changed if "=" not in word]
    if wrong:
        raise ConfigError(f"--set {wrong[0]!r} sets nothing", "write --set KEY=VALUE")
    return load_side([*files[:1], *overrides]), load_side([*files[-1:], *overrides, *changed])


def _carry_out(plan: AbPlan, *, as_json: bool) -> None:
    from llm_perf_opt.ab.execute import run_ab
    from llm_perf_opt.artifacts.layout import COMPARISON_DIR
    from llm_perf_opt.cli.progress import Reporter
    from llm_perf_opt.reports.comparison import comparison_document

    try:
        with Reporter() as reporter:
            ended = run_ab(plan, command_line(), reporter)
    except KeyboardInterrupt:
        console.note(f"go on with: llmperf ab --resume {shown_path(plan.path)}")
        raise
    if ended.comparison is not None:
        document = comparison_document(ended.comparison)
        put_out(ended.comparison, document, ended.path / COMPARISON_DIR, as_json=as_json)
    if ended.exit_code:
        raise typer.Exit(ended.exit_code)
    assert ended.comparison is not None, "both runs were completed"
    enforce(ended.comparison.gates)


def _plan_json(plan: AbPlan) -> str:
    sides = {side.name: plan_dict(side.plan) for side in (plan.a, plan.b)}
    looks = [{"launches": look.launches, "level": look.level} for look in plan.asked.looks]
    return json.dumps({"directory": str(plan.path), "order": _order(plan), "looks": looks, **sides}, indent=2)


def _plan_lines(plan: AbPlan) -> str:
    looks = ", ".join(str(look.launches) for look in plan.asked.looks)
    lines = [f"directory: {plan.path}", f"order: {_order(plan)}", f"looks: at {looks} launches a side"]
    return "\n".join([*lines, *(f"\n{side.name}:\n{plan_text(side.plan)}" for side in (plan.a, plan.b))])


def _order(plan: AbPlan) -> str:
    from llm_perf_opt.ab.plan import launches_of
    from llm_perf_opt.analysis.looks import launch_order

    return launch_order(launches_of(plan.asked))
