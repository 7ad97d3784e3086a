"""One launch of one point: the ordinary command in a process of its own, under a lease.

A process of its own, since a run that crashes, is killed for its memory or has a device of its own in its environment
is then one point's matter; and since that command is the same on this machine, in a job of Slurm and by hand.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llm_perf_opt.artifacts.layout import MANIFEST
from llm_perf_opt.artifacts.run_directory import is_written
from llm_perf_opt.config.load import RESERVED
from llm_perf_opt.records.sweep import PointEnd
from llm_perf_opt.redact import redact_text
from llm_perf_opt.sweep.directory import OUT_OF_MEMORY, State, SweepDirectory
from llm_perf_opt.sweep.leases import Lease, Leases
from llm_perf_opt.sweep.points import Task
from llm_perf_opt.tools.process import Finished, run, tail

Ending = Literal["settled", "busy", "lost", "interrupted"]
"""Settled: the point has come to something, now or before. Busy: another works on it. Lost: another has taken it over.
Interrupted: its run was, and waits to be resumed."""
Command = Callable[[SweepDirectory, Task, bool], list[str]]
"""What runs a task; the last argument says whether there is a run to go on with."""

INTERRUPTED = 130
_ENDINGS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR2")
"""Sent by people and schedulers, never by a defect; SIGUSR2 is how submitit has Slurm say that a job will be ended."""
_ERROR = re.compile(r"^error: (.*)\n(?:  remedy: (.*))?", re.MULTILINE)


@dataclass(frozen=True)
class Attempt:
    """How an attempt at a task went."""

    ending: Ending
    state: State
    """What the task has come to."""
    wall_s: float | None = None
    """Of its run; None where nothing was run."""


@dataclass(frozen=True)
class Worker:
    """What a process needs to run tasks of a directory."""

    directory: SweepDirectory
    cwd: Path
    """Where the command is started, which relative names in a workload's command are relative to."""
    environment: Mapping[str, str]
    stopped: Callable[[], bool] = lambda: False
    """Whether to end what runs."""
    begins: Callable[[Task], None] = lambda _: None
    """Told of each task that is really run."""
    command: Command | None = None
    """Of tests; None is `llmperf run`."""

    def attempt(self, task: Task, leases: Leases, failed_before: State | None = None) -> Attempt:
        """Run `task`, unless it is settled or another has it.

        Args:
            failed_before: the failure that is to be tried again, where that is wanted.

        Raises:
            MissingError, StageError: the directory cannot be written.
        """
        if (known := self._settled(task, failed_before)) is not None:
            return Attempt("settled", known)
        lease = leases.take(task.key)
        if lease is None:
            return Attempt("busy", self.directory.state(task))
        try:
            # Another may have settled it between the question and the lease.
            if (known := self._settled(task, failed_before)) is not None:
                return Attempt("settled", known)
            return self._run(task, lease)
        finally:
            lease.release()

    def _settled(self, task: Task, failed_before: State | None) -> State | None:
        state = self.directory.state(task)
        again = failed_before is not None and state.status == "failed" and state.ended == failed_before.ended
        return state if state.settled and not again else None

    def _run(self, task: Task, lease: Lease) -> Attempt:
        directory, run_path = self.directory, self.directory.run_path(task)
        begun = directory.is_begun(task)
        if begun and is_written(run_path):  # by a person, or by what a killed sweeper has left for a moment
            return Attempt("busy", directory.state(task))
        directory.forget_end(task)
        if self.command is None:
            directory.write_config(task)
        argv = (self.command or run_command)(directory, task, begun)
        self.begins(task)
        lost = False

        def tick() -> bool:
            nonlocal lost
            lost = not lease.keep()
            return not lost and not self.stopped()

        finished = run(argv, log=directory.log_path(task), cwd=self.cwd, env=self.environment, on_tick=tick)
        state = directory.state(task)
        if lost:
            return Attempt("lost", state)
        if state.settled:
            return Attempt("settled", state, finished.wall_s)
        if self.stopped() or finished.signal in _ENDINGS or finished.returncode == INTERRUPTED:
            return Attempt("interrupted", state)
        directory.note_end(task, end_of(finished, run_path))
        return Attempt("settled", directory.state(task), finished.wall_s)


def run_command(directory: SweepDirectory, task: Task, begun: bool) -> list[str]:
    """`llmperf run`, into a new run directory or going on with the one that is there."""
    run_path = str(directory.run_path(task))
    what = ["--resume", run_path] if begun else [str(directory.config_path(task)), "--output", run_path]
    return [sys.executable, "-m", "llm_perf_opt.cli", "run", *what]


def child_environment(devices: str | None = None) -> dict[str, str]:
    """This process's, without settings: those are in the point's configuration.

    Args:
        devices: those that the point may use, as CUDA_VISIBLE_DEVICES has them; None leaves them all.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LLMPERF_") or name in RESERVED}
    return kept if devices is None else {**kept, "CUDA_VISIBLE_DEVICES": devices}


def end_of(finished: Finished, run_path: Path) -> PointEnd:
    """Of a command that left no run, or one without an end: why, in its own words where it had some."""
    said = redact_text(tail(finished.log))
    found = list(_ERROR.finditer(said + "\n"))
    reason = found[-1][1] if found else f"the run {finished.how_it_ended()}; its last words:\n{said}"
    if (run_path / MANIFEST).exists():
        reason = f"the run {finished.how_it_ended()} before it could say how it went"
    code = finished.returncode if finished.returncode in (1, 2, 3) else 1
    remedy = found[-1][2] if found and found[-1][2] else None
    return PointEnd(reason=reason, remedy=remedy, exit_code=code, out_of_memory=OUT_OF_MEMORY in reason)
