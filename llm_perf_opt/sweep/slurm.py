"""Points as jobs of Slurm, through submitit.

What a point has come to is read from the sweep's directory. Slurm is asked for one thing: whether the job of a point
that has come to nothing is still to be waited for.
"""

from __future__ import annotations

import contextlib
import math
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.errors import MissingError, StageError
from llm_perf_opt.records.sweep import PointEnd
from llm_perf_opt.sweep.board import Board, Listener
from llm_perf_opt.sweep.directory import SweepDirectory
from llm_perf_opt.sweep.leases import Leases, Pace
from llm_perf_opt.sweep.points import Task
from llm_perf_opt.sweep.slurm_job import PointJob
from llm_perf_opt.sweep.work import Command

MOST_IN_AN_ARRAY = 1000
"""Slurm's MaxArraySize is 1001 unless its administrator says otherwise."""
MOST_SUBMISSIONS = 5
"""Of one point, whose jobs end without a word."""

ABANDONED = "ABANDONED"
"""No word of Slurm's: it says RUNNING of a job that has gone, as of one whose node or daemon died."""

# The states of sacct: https://slurm.schedmd.com/job_state_codes.html
_GIVEN_UP = frozenset({"FAILED", "OUT_OF_MEMORY", "TIMEOUT", "DEADLINE", "CANCELLED"})
_TO_REPEAT = frozenset({"NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED", "COMPLETED", ABANDONED})
"""Ended by what has nothing to do with the point, or while another worked on it."""

Judgement = Literal["wait", "repeat", "fail"]


@dataclass(frozen=True)
class SlurmOptions:
    """What is asked of Slurm for each point."""

    jobs: int = 256
    """At the same time, of one array."""
    gpus: int | None = None
    partition: str | None = None
    time_min: int = 60
    prefix: str | None = None
    """Words before `python` in the job."""


@dataclass(frozen=True)
class Polling:
    """How often one looks, and how long one believes that no answer is late."""

    look_s: float = 5.0
    """Between two looks at the directory."""
    ask_s: float = 30.0
    """Between two questions to Slurm."""
    grace_s: float = 60.0
    """After the end of a job, for what it wrote to be seen here."""
    vanished_s: float = 600.0
    """A job that Slurm does not know for so long is gone."""


@dataclass
class _Watch:
    """A job, and since when Slurm says of it what it says."""

    job_id: str
    state: str = "UNKNOWN"
    since: float = field(default_factory=time.monotonic)
    submissions: int = 1

    def hear(self, state: str, *, abandoned: bool) -> None:
        """What Slurm says now; a job that it takes to be running, and whose point nobody works on, is not."""
        heard = ABANDONED if abandoned and state == "RUNNING" else state
        if heard != self.state:
            self.state, self.since = heard, time.monotonic()

    def is_over(self) -> bool:
        """Whether Slurm says that nothing more comes of it; of a job that it does not know, it may say so late."""
        return self.state != "UNKNOWN" and judge(self.state, math.inf, Polling()) != "wait"

    def judge(self, polling: Polling) -> Judgement:
        return judge(self.state, time.monotonic() - self.since, polling)


def judge(state: str, for_s: float, polling: Polling) -> Judgement:
    """What to do about a job whose point has come to nothing.

    Args:
        state: as sacct has it; UNKNOWN where it has none.
        for_s: since when.
    """
    word = state.split(" ", 1)[0].rstrip("+")  # CANCELLED by 1000
    if word == "UNKNOWN":
        return "repeat" if for_s >= polling.vanished_s else "wait"
    if word in _GIVEN_UP and for_s >= polling.grace_s:
        return "fail"
    if word in _TO_REPEAT and for_s >= polling.grace_s:
        return "repeat"
    return "wait"


@dataclass
class SlurmSweep:
    """A sweep whose points are jobs."""

    board: Board
    directory: SweepDirectory
    listener: Listener
    options: SlurmOptions
    polling: Polling = field(default_factory=Polling)
    pace: Pace = field(default_factory=Pace)
    command: Command | None = None
    """Of tests."""

    def __post_init__(self) -> None:
        self._executor = _executor(self.directory.path / "slurm", self.options)
        self._watched: dict[str, _Watch] = {}
        self._leases = Leases(self.directory.control, self.pace)
        self._asked = float("-inf")

    def carry_out(self) -> None:
        """Submit every task that is left, and wait until all have come to something.

        Raises:
            KeyboardInterrupt: the jobs go on.
            StageError: Slurm takes no jobs.
        """
        left = [task for task, state in self.board.states() if not state.settled]
        adopted = [task for task in left if self._adopt(task)]
        if adopted:
            self.listener.note(f"{len(adopted)} jobs of an earlier command are still known to Slurm")
        self._submit([task for task in left if task.key not in self._watched])
        try:
            while self._look():
                time.sleep(self.polling.look_s)
        except KeyboardInterrupt:
            jobs = sorted({watch.job_id.split("_")[0] for watch in self._watched.values()})
            self.listener.note(
                f"the jobs go on, and the same command waits for them again; to end them: scancel {' '.join(jobs)}"
            )
            raise

    def _adopt(self, task: Task) -> bool:
        """Watch the job that an earlier command submitted, where there is one."""
        file = self._job_file(task)
        if not file.is_file() or task.key in self.board.failed_before:
            return False
        watch = _Watch(file.read_text().strip())
        watch.hear(self._state_of(watch.job_id, "standard"), abandoned=False)
        if watch.is_over():
            return False
        self._watched[task.key] = watch
        return True

    def _state_of(self, job_id: str, mode: str) -> str:
        state: str = self._executor.job_class.watcher.get_state(job_id, mode=mode)
        return state

    def _job_file(self, task: Task) -> Path:
        return self.directory.control / f"{task.key}.job"

    def _submit(self, tasks: Sequence[Task]) -> None:
        for start in range(0, len(tasks), MOST_IN_AN_ARRAY):
            part = tasks[start : start + MOST_IN_AN_ARRAY]
            calls = [self._call(task) for task in part]
            with _as_stage_error():
                jobs = [self._executor.submit(calls[0])] if len(calls) == 1 else self._array(calls)
            for task, job in zip(part, jobs, strict=True):
                write_text(self._job_file(task), f"{job.job_id}\n")
                before = self._watched.get(task.key)
                count = 1 if before is None else before.submissions + 1
                self._watched[task.key] = _Watch(job.job_id, submissions=count)
            self.listener.note(f"submitted {len(part)} jobs: {jobs[0].job_id.split('_')[0]}")

    def _array(self, calls: Sequence[PointJob]) -> list[Any]:
        with self._executor.batch():
            return [self._executor.submit(call) for call in calls]

    def _call(self, task: Task) -> PointJob:
        if self.command is None:
            self.directory.write_config(task)
        before = self.board.failed_before.get(task.key)
        return PointJob(self.directory.path, replace(task, config=None), Path.cwd(), before, self.pace, self.command)

    def _look(self) -> bool:
        """Take in what has become of the points; False once all have come to something."""
        for task in self._open():
            state = self.directory.state(task)
            before = self.board.failed_before.get(task.key)
            if state.settled and (before is None or state.ended != before.ended):
                self.board.settle(task, state, state.wall_s)
                self.listener.ends(task, state, self.board.tally())
        for task, skip in self.board.newly_skipped():
            self._cancel(task)
            self.listener.ends(task, skip, self.board.tally())
        if time.monotonic() - self._asked >= self.polling.ask_s:
            self._ask()
        return bool(self._open())

    def _open(self) -> list[Task]:
        return [task for task, state in self.board.states() if not state.settled]

    def _cancel(self, task: Task) -> None:
        watch = self._watched.get(task.key)
        if watch is not None:
            job = self._executor.job_class(folder=self._executor.folder, job_id=watch.job_id, tasks=[0])
            job.cancel(check=False)

    def _ask(self) -> None:
        """Ask Slurm about the jobs of all points that have come to nothing, in one question."""
        self._asked = time.monotonic()
        watcher = self._executor.job_class.watcher
        waiting = self._open()
        for task in waiting:
            watcher.register_job(self._watched[task.key].job_id)
        watcher.clear()  # it keeps what it last heard of a job, also of one that is not known any more
        watcher.update()
        again = []
        for task in waiting:
            watch = self._watched[task.key]
            abandoned = self._leases.is_abandoned(task.key)
            watch.hear(self._state_of(watch.job_id, "cache"), abandoned=abandoned)
            judgement = watch.judge(self.polling)
            if judgement == "repeat" and watch.submissions < MOST_SUBMISSIONS:
                self.listener.note(f"{task.label}: job {watch.job_id} is {watch.state}: submitted again")
                again.append(task)
            elif judgement != "wait":
                self.directory.note_end(task, _end(watch, self.options))
        self._submit(again)


def _end(watch: _Watch, options: SlurmOptions) -> PointEnd:
    """Of a point whose job is over, or gone, and which has come to nothing."""
    word = watch.state.split(" ", 1)[0]
    job = f"job {watch.job_id} of Slurm"
    if word == "OUT_OF_MEMORY":
        return PointEnd(
            reason=f"out of memory: {job} was ended for the memory of its host", exit_code=1, out_of_memory=True
        )
    if word in ("TIMEOUT", "DEADLINE"):
        return PointEnd(
            reason=f"{job} ran into its limit of {options.time_min} min", remedy="raise --time", exit_code=1
        )
    known = "is not known any more" if word == "UNKNOWN" else f"is {watch.state}"
    times = f", as were {watch.submissions - 1} before it" if watch.submissions > 1 else ""
    return PointEnd(reason=f"{job} {known}{times}", remedy="see its output in slurm/", exit_code=1)


def _executor(folder: Path, options: SlurmOptions) -> Any:
    try:
        import submitit
    except ImportError as error:
        raise MissingError(
            "--on slurm needs submitit, which is not installed", "install the extra: uv sync --extra slurm"
        ) from error
    python = shlex.quote(sys.executable)
    try:
        executor = submitit.SlurmExecutor(folder, python=f"{options.prefix} {python}" if options.prefix else python)
    except RuntimeError as error:
        raise MissingError(
            "there is no Slurm here: srun was not found", "run it on a login node of the cluster"
        ) from error
    asked = {"partition": options.partition, "gpus_per_node": options.gpus}
    executor.update_parameters(
        job_name="llmperf",
        time=options.time_min,
        array_parallelism=options.jobs,
        stderr_to_stdout=True,
        additional_parameters={"requeue": True},
        **{name: value for name, value in asked.items() if value is not None},
    )
    return executor


@contextlib.contextmanager
def _as_stage_error() -> Iterator[None]:
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        yield
    except (FailedJobError, FailedSubmissionError, OSError) as error:
        said = " ".join(str(error).split())
        raise StageError(f"Slurm took no job: {said}", "correct --partition, --time or --gpus-each") from error
