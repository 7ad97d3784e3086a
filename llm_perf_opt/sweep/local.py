"""Points on this machine: one at a time, or several, each with devices of its own."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llm_perf_opt.errors import ConfigError
from llm_perf_opt.records.sweep import PointEnd
from llm_perf_opt.sweep.board import Board, Listener
from llm_perf_opt.sweep.directory import SweepDirectory
from llm_perf_opt.sweep.leases import Leases, Pace
from llm_perf_opt.sweep.points import Task
from llm_perf_opt.sweep.work import INTERRUPTED, Command, Worker, child_environment

_LOOK_S = 0.2


def devices_of(jobs: int, gpus_each: int | None, visible: str | None, found: int) -> list[str | None]:
    """CUDA_VISIBLE_DEVICES of each of `jobs` workers; None leaves a worker what this process sees.

    Args:
        visible: this process's own CUDA_VISIBLE_DEVICES, which has the last word on which devices there are.
        found: GPUs of the machine.

    Raises:
        ConfigError: there are too few.
    """
    if gpus_each is None:
        return [None] * jobs
    names = [name.strip() for name in visible.split(",") if name.strip()] if visible is not None else None
    devices = list(map(str, range(found))) if names is None else names
    if len(devices) < jobs * gpus_each:
        source = f"CUDA_VISIBLE_DEVICES={visible}" if visible is not None else "this machine"
        raise ConfigError(
            f"--jobs {jobs} --gpus-each {gpus_each} takes {jobs * gpus_each} GPUs, and {source} has {len(devices)}",
            "run fewer jobs, or give each fewer GPUs",
        )
    return [",".join(devices[job * gpus_each : (job + 1) * gpus_each]) for job in range(jobs)]


@dataclass
class LocalSweep:
    """A sweep on this machine."""

    board: Board
    directory: SweepDirectory
    listener: Listener
    devices: Sequence[str | None] = (None,)
    """One for each worker."""
    pace: Pace = field(default_factory=Pace)
    command: Command | None = None
    """Of tests."""

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._errors: list[BaseException] = []
        self._leases = Leases(self.directory.control, self.pace)

    def carry_out(self) -> None:
        """Run every task that is left, by whomever; ends when all have come to something.

        Raises:
            KeyboardInterrupt: after the runs that were going on have ended, each with what it had measured.
            MissingError, StageError: the directory cannot be written.
        """
        # Not by joining the threads: one whose join is interrupted counts as ended in Python before 3.13 (bpo-45274),
        # and the process would end before its run has.
        ended = [threading.Event() for _ in self.devices]
        for devices, event in zip(self.devices, ended, strict=True):
            threading.Thread(target=self._work, args=(devices, event)).start()
        try:
            while waiting := [event for event in ended if not event.is_set()]:
                waiting[0].wait(_LOOK_S)
        finally:
            self._stop.set()
            for event in ended:
                while not event.is_set():
                    with contextlib.suppress(KeyboardInterrupt):  # its run is ending as fast as it can
                        event.wait()
        if self._errors:
            raise self._errors[0]

    def _work(self, devices: str | None, ended: threading.Event) -> None:
        worker = Worker(
            self.directory,
            Path.cwd(),
            child_environment(devices),
            stopped=self._stop.is_set,
            begins=lambda task: self.listener.begins(task, self.board.tally()),
            command=self.command,
        )
        try:
            while not self._stop.is_set() and not self.board.is_over():
                task = self.board.next()
                if task is None:
                    self._stop.wait(_LOOK_S)
                else:
                    self._attempt(worker, task)
        except BaseException as error:  # noqa: BLE001 - a thread's edge: raised again by the one that waits
            self._errors.append(error)
            self._stop.set()
        finally:
            ended.set()

    def _attempt(self, worker: Worker, task: Task) -> None:
        attempt = worker.attempt(task, self._leases, self.board.failed_before.get(task.key))
        state = attempt.state
        if attempt.ending == "interrupted" and not self._stop.is_set():
            reason = "the run was interrupted, and not by this sweep"
            self.directory.note_end(task, PointEnd(reason=reason, exit_code=INTERRUPTED))
            state = self.directory.state(task)
        elif attempt.ending != "settled":  # of one that is tried again, the state may be its failure of before
            self.board.put_back(task)
            return
        self.board.settle(task, state, attempt.wall_s)
        self.listener.ends(task, state, self.board.tally())
        for other, skip in self.board.newly_skipped():
            self.listener.ends(other, skip, self.board.tally())


def visible_devices() -> str | None:
    return os.environ.get("CUDA_VISIBLE_DEVICES")
