"""What a job of Slurm does: one launch of one point. Pickled by submitit, so it holds no more than it must."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_perf_opt.sweep.directory import State, SweepDirectory
from llm_perf_opt.sweep.leases import Leases, Pace
from llm_perf_opt.sweep.points import Task
from llm_perf_opt.sweep.work import Command, Worker, child_environment

_LOOK_S = 1.0
_MORE_S = 10.0


@dataclass
class PointJob:
    """Called on the node that the job was given."""

    directory: Path
    task: Task
    """Without its configuration, which is a file by now."""
    cwd: Path
    failed_before: State | None = None
    pace: Pace = field(default_factory=Pace)
    command: Command | None = None
    """Of tests."""

    def __call__(self) -> str:
        """Run the point, waiting for the lease of a job that was ended without a word; how it ended."""
        directory = SweepDirectory(self.directory)
        worker = Worker(directory, self.cwd, child_environment(), command=self.command)
        leases = Leases(directory.control, self.pace)
        patience = time.monotonic() + self.pace.silence_s + _MORE_S
        while True:
            attempt = worker.attempt(self.task, leases, self.failed_before)
            if attempt.ending != "busy" or time.monotonic() > patience:
                return attempt.ending
            time.sleep(_LOOK_S)

    def checkpoint(self) -> Any:
        """What submitit asks before it has a job that is pre-empted, or out of time, put into the queue again.

        The run is ended while this process goes, and resumed by the next.
        """
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
