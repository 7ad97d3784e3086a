"""`llmperf sweep`: the same run at many settings, resumable, on this machine or a cluster."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from llm_perf_opt.cli import console
from llm_perf_opt.cli.options import ConfigDirs
from llm_perf_opt.cli.running import RUN_PANEL, DryRunOption, JsonOption, command_line, shown_path
from llm_perf_opt.cli.sizes import sizes_given, with_sizes
from llm_perf_opt.cli.toggles import chosen_stages, with_toggles
from llm_perf_opt.errors import ConfigError

if TYPE_CHECKING:
    from llm_perf_opt.records.sweep import SweepResults
    from llm_perf_opt.sweep.board import Board, Tally
    from llm_perf_opt.sweep.directory import State, SweepDirectory
    from llm_perf_opt.sweep.points import Point, Task

app = typer.Typer()
PLACE = "Where it runs"

EXAMPLES = """
Examples:
  llmperf sweep my.yaml 'infer.batch_size=1,2,4,8' 'infer.execution=eager,compile' --output sweeps/first
  llmperf sweep path/to/model --infer --prompt-tokens 512 'infer.batch_size=1,2,4' --launches 5
  llmperf sweep my.yaml --zip 'infer.batch_size=1,8' --zip 'infer.max_new_tokens=512,64' --dry-run
  llmperf sweep my.yaml 'infer.batch_size=1,2,4,8' --jobs 4 --gpus-each 1
  llmperf sweep my.yaml 'infer.batch_size=1,2,4,8' --on slurm --partition gpu --time 30 --gpus-each 1

The same command with the same --output goes on where it stopped.
"""


def _option(*names: str, metavar: str | None = None, text: str, panel: str = RUN_PANEL, **more: Any) -> Any:
    return typer.Option(*names, metavar=metavar, help=text, show_default=False, rich_help_panel=panel, **more)


@app.command(epilog=EXAMPLES)
@with_sizes
@with_toggles
def sweep(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CONFIG|MODEL]... [KEY=V1,V2...]...",
            help="What to run, and settings or presets with all their values; several files are swept too.",
            show_default=False,
        ),
    ] = None,
    *,
    zipped: Annotated[
        list[str] | None,
        _option("--zip", metavar="KEY=V1,V2", text="Settings that advance together, not each with each; repeatable."),
    ] = None,
    launches: Annotated[
        int | None,
        _option(
            "--launches", metavar="N", min=1, text="Run every point N times, all points in turn (measure.launches)."
        ),
    ] = None,
    output: Annotated[
        Path | None, _option("--output", metavar="DIR", text="The sweep's directory, new or one to go on with.")
    ] = None,
    retry_failed: Annotated[bool, _option("--retry-failed", text="Try the points that failed again.")] = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    config_dirs: ConfigDirs = None,
    on: Annotated[
        Literal["local", "slurm"], _option("--on", text="This machine, or jobs of Slurm.", panel=PLACE)
    ] = "local",
    jobs: Annotated[
        int | None,
        _option("--jobs", metavar="N", min=1, text="Points at the same time (1; Slurm: 256).", panel=PLACE),
    ] = None,
    gpus_each: Annotated[
        int | None, _option("--gpus-each", metavar="M", min=0, text="GPUs that each point has alone.", panel=PLACE)
    ] = None,
    partition: Annotated[str | None, _option("--partition", metavar="NAME", text="Of Slurm.", panel=PLACE)] = None,
    time_min: Annotated[
        int | None, _option("--time", metavar="MIN", min=1, text="Limit of one job of Slurm (60).", panel=PLACE)
    ] = None,
    prefix: Annotated[
        str | None,
        _option(
            "--prefix", metavar="CMD", text="Put before python in a job, such as a container's command.", panel=PLACE
        ),
    ] = None,
    **given: Any,
) -> None:
    """Run every combination of settings, each into a run directory of its own, and put them into one table."""
    from llm_perf_opt.sweep.axes import choose, read_arguments, read_axis
    from llm_perf_opt.sweep.board import Board
    from llm_perf_opt.sweep.points import plan_points, tasks_of

    files, axes = read_arguments(arguments or ())
    combinations = choose(files, axes, [read_axis(text) for text in zipped or ()])
    options = {**chosen_stages(given), **sizes_given(given)}
    if both := sorted({choice.key for choice in combinations[0]} & options.keys()):
        raise ConfigError(f"{both[0]} is swept, and an option gives it one value", "leave out the option")
    points = plan_points(combinations, options=options, config_dirs=tuple(config_dirs or ()))
    if same := len(combinations) - len(points):
        console.note(f"points that repeat another, and are run once with it: {same} of {len(combinations)}")
    number = launches or points[0].launches
    tasks = tasks_of(points, number)
    directory = _directory(output, points)
    if dry_run:
        _list(directory, tasks, as_json=as_json)
        return
    board = Board(tasks, directory, retry=retry_failed, workers=jobs or 1)
    slurm = {"partition": partition, "time_min": time_min, "prefix": prefix}
    work = _place(board, directory, on=on, jobs=jobs, gpus_each=gpus_each, slurm=slurm)
    directory.open([point.record for point in points], launches=number, argv=command_line())
    try:
        work()
    except KeyboardInterrupt:
        console.note(f"to go on: the same command with --output {shown_path(directory.path)}")
        raise
    finally:
        results = _report(directory)
    if as_json:
        typer.echo(results.model_dump_json(indent=2))
    raise typer.Exit(_said_in_the_end(board, directory))


def _directory(output: Path | None, points: list[Point]) -> SweepDirectory:
    from llm_perf_opt.sweep.directory import SweepDirectory

    if output is not None:
        return SweepDirectory(output.absolute())
    runs_dir = Path(points[0].config.artifacts.runs_dir)
    return SweepDirectory(runs_dir / f"sweep-{datetime.now():%Y%m%d-%H%M%S}")


def _list(directory: SweepDirectory, tasks: list[Task], *, as_json: bool) -> None:
    """The points, and what has become of those that were run before."""
    from llm_perf_opt.sweep.board import Board

    states = Board(tasks, directory).states()
    if as_json:
        rows = [
            {"id": task.key, "settings": task.point.settings, "launch": task.launch, "status": state.status}
            for task, state in states
        ]
        typer.echo(json.dumps({"sweep": str(directory.path), "points": rows}, indent=2, ensure_ascii=False))
        return
    typer.echo(f"sweep: {directory.path}")
    for number, (task, state) in enumerate(states, start=1):
        done = "" if state.status == "open" else f"  ({state.status})"
        typer.echo(f"{number:>5}  {task.key}  {task.label}{done}")


def _place(
    board: Board,
    directory: SweepDirectory,
    *,
    on: str,
    jobs: int | None,
    gpus_each: int | None,
    slurm: dict[str, Any],
) -> Callable[[], None]:
    """What does the work, where it was asked for; refused before anything is written.

    Raises:
        ConfigError, MissingError: it cannot be done there.
    """
    listener = _Said()
    given = {name: value for name, value in slurm.items() if value is not None}
    if on == "slurm":
        from llm_perf_opt.sweep.slurm import SlurmOptions, SlurmSweep

        return SlurmSweep(board, directory, listener, SlurmOptions(jobs=jobs or 256, gpus=gpus_each, **given)).carry_out
    if given:
        raise ConfigError(f"--{next(iter(given)).removesuffix('_min')} is of Slurm", "add --on slurm")
    from llm_perf_opt.hardware.detect import detect_gpus
    from llm_perf_opt.sweep.local import LocalSweep, devices_of, visible_devices

    found = 0 if gpus_each is None else len(detect_gpus().gpus)
    devices = devices_of(jobs or 1, gpus_each, visible_devices(), found)
    return LocalSweep(board, directory, listener, devices).carry_out


class _Said:
    """What is said of a sweep that goes on; a line for each thing that happens."""

    def begins(self, task: Task, tally: Tally) -> None:
        console.note(f"{task.label}: started ({tally.total - tally.left} of {tally.total} done)")

    def ends(self, task: Task, state: State, tally: Tally) -> None:
        if state.status == "failed":
            console.error(f"{task.label}: {state.reason}", state.remedy or "")
        else:
            console.note(f"{task.label}: {state.status}" + (f": {state.reason}" if state.reason else ""))
        said = f"{tally.completed} done, {tally.failed} failed, {tally.skipped} skipped, {tally.left} left"
        if tally.left and tally.left_s is not None:
            said += f", about {_span(tally.left_s)}"
        console.note(f"  {said}")

    def note(self, message: str) -> None:
        console.note(message)


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _report(directory: SweepDirectory) -> SweepResults:
    """Everything that is known of the sweep, in all its forms."""
    from llm_perf_opt.reports.sweep import write_sweep
    from llm_perf_opt.sweep.results import read_results

    results = read_results(directory)
    for file in write_sweep(results, directory.path):
        console.detail(f"wrote {file}")
    return results


def _said_in_the_end(board: Board, directory: SweepDirectory) -> int:
    tally = board.tally()
    console.note(f"{tally.completed} completed, {tally.failed} failed, {tally.skipped} skipped")
    typer.echo(f"sweep: {shown_path(directory.path)}", err=console.is_quiet())
    return 1 if tally.failed or tally.skipped else 0
