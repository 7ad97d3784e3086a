"""What the commands that run stages share: from a configuration to a run, and what is said about it."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from llm_perf_opt.artifacts.layout import REPORT_HTML, SUMMARY
from llm_perf_opt.cli import console
from llm_perf_opt.cli.lazy import tail
from llm_perf_opt.cli.options import load
from llm_perf_opt.config.label import model_label, run_label
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.plan.model import Plan, PlannedStage
from llm_perf_opt.redact import redact_argv, redact_env
from llm_perf_opt.registry import STAGES, Component
from llm_perf_opt.stages.base import Stage
from llm_perf_opt.workload.weights import has_weights

if TYPE_CHECKING:
    from llm_perf_opt.runner import Ended, Listener

RUN_PANEL = "The run"
OutputOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--output",
        metavar="DIR",
        help="The run directory itself; must not hold a run.",
        show_default=False,
        rich_help_panel=RUN_PANEL,
    ),
]
DryRunOption: TypeAlias = Annotated[
    bool, typer.Option("--dry-run", help="Print what would run, and run nothing.", rich_help_panel=RUN_PANEL)
]
JsonOption: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON.", rich_help_panel=RUN_PANEL)
]


def only(stage: str) -> dict[str, object]:
    """Options that leave one stage on, with the observers that watch it."""
    stages = (name for name, found in STAGES.all(Component) if isinstance(found, Stage))
    return {**{f"pipeline.{name}.enable": name == stage for name in stages}, "pipeline.plugins": {}}


def workload_after(context: typer.Context) -> dict[str, object]:
    """The option that makes the command after `--` the workload; nothing where there is none.

    Raises:
        ConfigError: there is a `--` and nothing after it.
    """
    command = tail(context)
    if command is None:
        return {}
    if not command:
        raise ConfigError("there is no command after --", "for example: -- python my_script.py")
    return {"pipeline.workload.command": list(command)}


def command_line() -> list[str]:
    """What was typed, wherever llmperf is installed."""
    return ["llmperf", *sys.argv[1:]]


def run_stages(
    arguments: list[str] | None,
    *,
    options: Mapping[str, object],
    config_dirs: list[Path] | None,
    output: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Plan and run, or only print the plan.

    Raises:
        typer.Exit: with the run's exit code.
    """
    config = load(arguments, options, config_dirs).config
    from llm_perf_opt import run
    from llm_perf_opt.stages.given import follow, with_ranks_given
    from llm_perf_opt.workload.ranks import ranks_of

    ranks = ranks_of(os.environ)
    config = with_ranks_given(config, ranks)
    if ranks is not None and ranks.rank > 0 and not dry_run:
        raise typer.Exit(follow(config, ranks))
    plan = run.plan_run(config, output.absolute() if output is not None else None)
    if (said := _said_of_weights(plan)) is not None:
        console.note(said)
    run_or_print(plan, lambda listener: run.start(plan, command_line(), listener), dry_run=dry_run, as_json=as_json)


def _said_of_weights(plan: Plan) -> str | None:
    """That the model at `model.path` is run without its weights, and why."""
    model = plan.config.model
    if not plan.inputs.samples or model.path is None or model.weights != "random":
        return None
    why = "as model.weights asks for" if has_weights(Path(model.path)) else f"{model.path} holds none"
    return f"random weights ({why}): times and memory are those of the model, its texts are noise"


def resume_run(run_path: Path, *, dry_run: bool, as_json: bool) -> None:
    """Do what is not completed in `run_path`, or only print the plan.

    Raises:
        typer.Exit: with the run's exit code.
    """
    from llm_perf_opt import run
    from llm_perf_opt.stages.given import check_resumed, follow
    from llm_perf_opt.workload.ranks import ranks_of

    ranks = ranks_of(os.environ)
    if ranks is not None and ranks.rank > 0 and not dry_run:
        config = run.config_of(run_path.absolute())
        check_resumed(config, ranks)
        raise typer.Exit(follow(config, ranks))
    left = run.plan_resumption(run_path.absolute())
    check_resumed(left.plan.config, ranks)
    run_or_print(left.plan, lambda listener: run.resume(left, listener), dry_run=dry_run, as_json=as_json)


def run_or_print(plan: Plan, action: Callable[[Listener], Ended], *, dry_run: bool, as_json: bool) -> None:
    """Run `action` under a progress display and say how it went; or print the plan."""
    if dry_run:
        typer.echo(json.dumps(plan_dict(plan), indent=2) if as_json else plan_text(plan))
        return
    from llm_perf_opt.cli.progress import Reporter

    with Reporter() as reporter:
        ended = action(reporter)
    _say(ended, plan.config, as_json)
    raise typer.Exit(ended.manifest.exit_code or 0)


def summary_of(ended: Ended) -> dict[str, Any]:
    """What `--json` prints of a run: where it is, how it ended, and its summary, if that could be written."""
    file = ended.path / SUMMARY
    written = file.name in ended.manifest.artifacts
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if written else {}
    said = {"run": str(ended.path), "exit_code": ended.manifest.exit_code, **found}
    return {**said, "problems": list(ended.manifest.problems)} if ended.manifest.problems else said


def _say(ended: Ended, config: Config, as_json: bool) -> None:
    found = summary_of(ended)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    for stage, measured in found.get("measured", {}).items():
        weights = ", random weights" if measured["model"]["weights"] == "random" else ""
        typer.echo(f"{stage} ({run_label(config)}{weights}):")
        unknown: dict[str, list[str]] = {}
        for name, metric in measured["metrics"].items():
            if metric["median"] is None:
                unknown.setdefault(metric["reason"], []).append(name)
            else:
                typer.echo(f"  {name:<22} {_figure(metric)}")
        for reason, names in unknown.items():
            typer.echo(f"  not measured: {', '.join(names)}: {reason}")
    say_answer(ended, found)


def say_answer(ended: Ended, found: Mapping[str, Any]) -> None:
    """The answer of a run, where it is, and last the page to open."""
    for said in ("answer", "trust"):
        if words := found.get(said):
            typer.echo(words)
    if ended.path.is_dir():
        typer.echo(f"run directory: {shown_path(ended.path)}")
    if REPORT_HTML in ended.manifest.artifacts:
        typer.echo(f"page: {shown_path(ended.path / REPORT_HTML)}")


def shown_path(path: Path) -> Path:
    """`path` as a person would write it here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _figure(metric: Mapping[str, Any]) -> str:
    from llm_perf_opt.reports.units import in_bytes, percent, significant

    median = float(metric["median"])
    if metric["unit"] == "bytes":
        return in_bytes(median)
    if metric["unit"] in ("ratio", "share"):
        return percent(median)
    if metric["n"] == 1:
        return f"{significant(median)} {metric['unit']}"
    launches = len(metric["launch_medians"])
    made = f"{metric['n']} in {launches} launches" if launches > 1 else str(metric["n"])
    return f"{significant(median)} {metric['unit']} (median of {made})"


def plan_dict(plan: Plan) -> dict[str, Any]:
    return {
        "run": str(plan.run_path),
        "model": {key: getattr(plan.config.model, key) for key in ("name", "path", "weights")},
        "samples": [sample.source for sample in plan.inputs.samples],
        "stages": [
            {
                "name": stage.name,
                "directory": str(stage.output_dir),
                "tool": stage.tool,
                "commands": [list(redact_argv(command)) for command in stage.commands],
                "environment": redact_env(stage.environment),
                "left_out": list(stage.left_out),
                "files": list(stage.files),
                "passes": None if stage.passes is None else asdict(stage.passes),
                "notes": list(stage.notes),
            }
            for stage in plan.stages
        ],
    }


def plan_text(plan: Plan) -> str:
    lines = [f"run directory: {plan.run_path}"]
    if plan.inputs.samples:
        model = plan.config.model
        lines.append(f"model: {model_label(plan.config)} ({model.name}, {model.weights} weights)")
    lines.append(f"samples: {len(plan.inputs.samples)}")
    for stage in plan.stages:
        lines += [f"{stage.name}:", *(f"  {line}" for line in _stage_lines(stage))]
    return "\n".join(lines)


def _stage_lines(stage: PlannedStage) -> list[str]:
    lines = [f"directory: {stage.output_dir}"]
    lines += [f"tool: {stage.tool}"] if stage.tool is not None else []
    lines += [f"$ {shlex.join(redact_argv(command))}" for command in stage.commands]
    changed = [f"{name}={shlex.quote(value)}" for name, value in redact_env(stage.environment).items()]
    lines += [f"environment: {' '.join(changed)}"] if changed else []
    lines += [f"environment without: {', '.join(stage.left_out)}"] if stage.left_out else []
    lines += [f"files: {', '.join(stage.files)}"] if stage.files else []
    if stage.passes is not None:
        count = "unknown" if stage.passes.count is None else f"{stage.passes.count:,}"
        lines.append(f"estimated passes: {count} ({stage.passes.explanation})")
    return lines + [f"note: {note}" for note in stage.notes]
