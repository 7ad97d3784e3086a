"""What the stages that wrap a workload in a tool share: what is launched, in which environment, and how it ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from llm_perf_opt.artifacts.files import writing
from llm_perf_opt.artifacts.layout import CHILD_LOG, EVENTS, ORDER, WORKLOAD, headline_dir, workload_dir
from llm_perf_opt.config.base import Output, Prediction, TimedSettings, Visualization
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import LlmperfError, MissingError
from llm_perf_opt.records.inputs import Inputs
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.records.tools import Failure
from llm_perf_opt.records.workload import RangesSent, Workload
from llm_perf_opt.stages.base import PlanContext, StageContext
from llm_perf_opt.stages.child import (
    CHILD_ENVIRONMENT,
    STALL_LIMIT_S,
    ChildWatch,
    hide_in_log,
    own_words,
    rank_environment,
    secrets_for_child,
    stall_error,
    write_order,
)
from llm_perf_opt.stages.ranks import RankWatch, error_of_ranks, watch_ranks
from llm_perf_opt.stages.save_dirs import prediction_dir, visualization_dir
from llm_perf_opt.tools.command import command_text, profiled_environment
from llm_perf_opt.tools.discovery import find_tool, version_problem
from llm_perf_opt.tools.failures import Ending
from llm_perf_opt.tools.options import ToolName, Version, parse_version
from llm_perf_opt.tools.process import Finished, run
from llm_perf_opt.workload.events import EventReader
from llm_perf_opt.workload.order import Capture, WorkOrder, one_child_argv

T = TypeVar("T", Prediction, Visualization)
# Of a tool's output, this much of the start and of the end is looked at; what explains a failure is in one of them.
LOOKED_AT_BYTES = 1 << 20


def foreign_command(config: Config) -> list[str] | None:
    """What is launched instead of llmperf's own workload; None launches that."""
    workload = config.pipeline.workload
    if workload.command is not None:
        return list(workload.command)
    return None if workload.module is None else [sys.executable, "-m", workload.module]


def ranks_under_tool(config: Config) -> int:
    """Ranks that the program is started on: somebody else's starts its own."""
    return 1 if foreign_command(config) is not None else config.parallel.tensor


def launched_command(context: PlanContext[Any]) -> list[str]:
    """The program that the tool of a stage starts."""
    return foreign_command(context.config) or one_child_argv(context.scratch_dir / ORDER)


def changed_environment(config: Config) -> dict[str, str]:
    """Variables that the program gets beside those of this process; a program of somebody else's gets none."""
    return {} if foreign_command(config) is not None else {**CHILD_ENVIRONMENT, **rank_environment(config)}


def planned_tool(name: ToolName, environ: Mapping[str, str]) -> tuple[str, str, Version | None]:
    """For the plan: the program to show, what is said about it, and its version where it is known."""
    try:
        tool = find_tool(name, environ)
    except LlmperfError as error:
        return name, f"{error.message}; the stage will fail", None
    if tool is None:
        return name, f"{name} was not found; the stage will fail (exit code 3)", None
    version = parse_version(tool.version) or None
    problem = version_problem(tool)
    return (
        tool.path,
        problem or f"{name} {tool.version or 'of unknown version'} at {tool.path} ({tool.source})",
        version,
    )


class ToolRun:
    """The program that a tool runs for one stage, with its environment and its log."""

    def __init__(self, context: StageContext[Any], config: Config, inputs: Inputs, capture: Capture) -> None:
        """Write the work order, unless the program is somebody else's.

        Args:
            config, inputs: what the child works on; they may differ from the run's.

        Raises:
            MissingError: that program does not exist.
        """
        self.context = context
        self.log = context.scratch_dir / CHILD_LOG
        self.environment, self.left_out = profiled_environment(os.environ)
        self.changed = changed_environment(config)
        self._config = config
        self._watch: ChildWatch | None = None
        self._ranks: RankWatch | None = None
        self._ended_ranks: Finished | None = None
        # Not the stage's own results: what a child under a tool writes is never reported.
        self._result = workload_dir(context.run_path, context.name)
        with writing(context.output_dir):
            context.output_dir.mkdir(parents=True, exist_ok=True)
            context.scratch_dir.mkdir(parents=True, exist_ok=True)
        foreign = foreign_command(config)
        if foreign is not None and shutil.which(foreign[0]) is None:
            raise MissingError(
                f"{foreign[0]}, which {context.name} is to launch, is not a program that can be run",
                "check the command after --, or pipeline.workload.command: it is looked for on PATH, and a path is "
                f"relative from {Path.cwd()}",
            )
        self.own = foreign is None
        self._order = None if foreign else self._work_order(inputs, capture)
        if self._order is not None:
            write_order(self._order)
        self.command = foreign or one_child_argv(context.scratch_dir / ORDER)

    def _work_order(self, inputs: Inputs, capture: Capture) -> WorkOrder:
        output = self._config.pipeline.first(TimedSettings).output
        relative = inside(output)
        return WorkOrder(
            stage=self.context.name,
            config=self._config,
            inputs=inputs,
            scratch_dir=self.context.scratch_dir,
            output_dir=self._result,
            output=output,
            prediction_dir=prediction_dir(self._result, relative),
            visualization_dir=visualization_dir(self._result, relative),
            capture=capture,
        )

    @property
    def device(self) -> str | None:
        """What the child said it works on; None for somebody else's program, or before it said so."""
        return self._watch.device if self._watch is not None else None

    @property
    def on_gpu(self) -> bool:
        """Whether kernels are to be expected; a program that says nothing is taken to use a GPU."""
        return self.device is None or self.device.startswith("cuda")

    @property
    def fingerprint(self) -> str | None:
        """Of the work that was done; None where the child did not get that far, or is not ours."""
        result = headline_dir(self._result) / WORKLOAD
        return Workload.read(result).work_fingerprint if self.own and result.exists() else None

    @property
    def ranges(self) -> RangesSent | None:
        """What the child sent of its ranges; without counts where it was ended before it wrote them."""
        result = headline_dir(self._result) / WORKLOAD
        if self.own and result.exists():
            return Workload.read(result).ranges
        return self._watch.ranges if self._watch is not None else None

    def command_text(self, argv: Sequence[str]) -> str:
        return command_text(argv, cwd=Path.cwd(), changed=self.changed, dropped=self.left_out)

    def run(self, argv: Sequence[str], timeout_s: float | None) -> Finished:
        """Run the tool around the program.

        Raises:
            StageError: neither the child nor the tool moved any more.
        """
        progress = self.context.progress
        tick: Callable[[], bool] | None = None
        world = self._config.parallel.tensor if self.own else 1
        if world > 1:
            self._ranks = watch_ranks(self.context.scratch_dir, world, progress, STALL_LIMIT_S, log=self.log)
            self._watch, tick = self._ranks.ranks[0], self._ranks.tick
        elif self.own:
            events = EventReader(self.context.scratch_dir / EVENTS)
            self._watch = ChildWatch(events, progress, STALL_LIMIT_S, log=self.log)
            tick = self._watch.tick
        else:
            progress.update("capture", 0, 1, 0)
        with contextlib.nullcontext() if self._order is None else secrets_for_child(self._order):
            finished = self._run(argv, self.log, timeout_s, on_tick=tick)
        if self._watch is not None:
            assert tick is not None
            tick()
            self._ended_ranks = finished
            if finished.stopped_by_caller:
                hide_in_log(self.log)
                raise stall_error(self._watch, f"{self.context.name} and the child under it", self.log)
        return finished

    def _run(self, argv: Sequence[str], log: Path, timeout_s: float | None, **options: object) -> Finished:
        environment = {**self.environment, **self.changed}
        return run(argv, log=log, cwd=Path.cwd(), env=environment, timeout_s=timeout_s, **options)  # type: ignore[arg-type]

    def run_helper(self, argv: Sequence[str], name: str, timeout_s: float | None) -> tuple[Finished, Path]:
        """Run the tool on what it left, its output into a file of its own, of any length."""
        log = self.context.scratch_dir / name
        return self._run(argv, log, timeout_s, log_cap_bytes=1 << 50), log

    def ending(self, finished: Finished, more_output: str = "") -> Ending:
        """How the run of the tool ended, for the verdict."""
        return Ending(
            output=_looked_at(self.log) + more_output,
            how=finished.how_it_ended(),
            ok=finished.ok,
            timed_out=finished.timed_out,
            workload_ok=self._watch.done if self._watch is not None else None,
            log=str(self.log),
        )

    def _own_words(self) -> LlmperfError | None:
        if self._ranks is not None and self._ended_ranks is not None:
            return error_of_ranks(self._ranks, self._ended_ranks, self.log)
        return own_words(self._watch) if self._watch is not None else None

    def outcome(self, failure: Failure | None, remarks: Sequence[str] = ()) -> Outcome:
        """What the verdict means for the stage; where the workload failed, its own words say why.

        The log is not needed any more, so that secrets are hidden in it.

        Args:
            remarks: what must be said of a capture that is good all the same.
        """
        hide_in_log(self.log)
        if failure is None:
            return Outcome.completed(self.fingerprint).model_copy(update={"reason": "; ".join(remarks) or None})
        own = self._own_words() if failure.code == "workload-crashed" else None
        if own is None:
            remedy = f"{failure.remedy}; see {failure.docs}"
            return Outcome.failed(failure.message, remedy, failure.exit_code, self.fingerprint)
        message = f"the workload failed under {self.context.name}: {own.message}"
        return Outcome.failed(message, own.remedy or None, own.exit_code, self.fingerprint)


def inside(output: Output) -> Output:
    """The settings without folders elsewhere: those hold what the stage that is timed wrote."""

    def kept(part: T) -> T:
        path = Path(part.save_dir or "")
        elsewhere = path.is_absolute() or ".." in path.parts
        return part.model_copy(update={"save_dir": None}) if elsewhere else part

    changes = {"prediction": kept(output.prediction), "visualization": kept(output.visualization)}
    return output.model_copy(update=changes)


def _looked_at(log: Path) -> str:
    """The text of a log, without its middle where it is very long."""
    with log.open("rb") as stream:
        head = stream.read(LOOKED_AT_BYTES)
        rest = log.stat().st_size - len(head)
        stream.seek(max(len(head), len(head) + rest - LOOKED_AT_BYTES))
        return (head + stream.read()).decode(errors="replace")
