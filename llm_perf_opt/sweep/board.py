"""What is left to do of a sweep, as one process knows it."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from llm_perf_opt.sweep.directory import State, SweepDirectory, out_of_memory_at, skipped
from llm_perf_opt.sweep.points import Task

BUSY_S = 2.0
"""Before a point that another works on is looked at again."""


@dataclass(frozen=True)
class Tally:
    """How far a sweep is; of launches, where points have several."""

    completed: int
    failed: int
    skipped: int
    left: int
    left_s: float | None
    """Until the end, at the pace of this process so far; None before its first run ends."""

    @property
    def total(self) -> int:
        return self.completed + self.failed + self.skipped + self.left


class Listener(Protocol):
    """Who is told what happens."""

    def begins(self, task: Task, tally: Tally) -> None: ...

    def ends(self, task: Task, state: State, tally: Tally) -> None: ...

    def note(self, message: str) -> None: ...


class Board:
    """The tasks and what they have come to; its threads may share it."""

    def __init__(
        self,
        tasks: Sequence[Task],
        directory: SweepDirectory,
        *,
        retry: bool = False,
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tasks = list(tasks)
        self._workers = workers
        self._clock = clock
        self._lock = threading.RLock()
        self._states = {task.key: directory.state(task) for task in tasks}
        # What failed before this command is open again, once, where that is asked for.
        self.failed_before = {key: state for key, state in self._states.items() if retry and state.status == "failed"}
        self._running: set[str] = set()
        self._not_before: dict[str, float] = {}
        self._walls: list[float] = []
        self._said: set[str] = set()

    def state(self, task: Task) -> State:
        """What a task has come to; a task may be skipped for what has become of others."""
        with self._lock:
            return self._state(task, self._too_large())

    def states(self) -> list[tuple[Task, State]]:
        with self._lock:
            too_large = self._too_large()
            return [(task, self._state(task, too_large)) for task in self.tasks]

    def _too_large(self) -> dict[str, int]:
        return out_of_memory_at((task, self._known(task)) for task in self.tasks)

    def _known(self, task: Task) -> State:
        return State("open") if task.key in self.failed_before else self._states[task.key]

    def _state(self, task: Task, too_large: dict[str, int]) -> State:
        known = self._known(task)
        if known.settled or task.key in self._running:
            return known
        return skipped(task, too_large) or known

    def next(self) -> Task | None:
        """A task to attempt now, which nobody else of this process has; None where there is none at the moment."""
        with self._lock:
            now = self._clock()
            for task, state in self.states():
                if not state.settled and task.key not in self._running and now >= self._not_before.get(task.key, 0.0):
                    self._running.add(task.key)
                    return task
        return None

    def is_over(self) -> bool:
        """Whether nothing is left to attempt, now or later, by this process."""
        with self._lock:
            return all(state.settled or task.key in self._running for task, state in self.states())

    def settle(self, task: Task, state: State, wall_s: float | None = None) -> None:
        with self._lock:
            self._running.discard(task.key)
            self.failed_before.pop(task.key, None)
            self._states[task.key] = state
            if wall_s is not None:
                self._walls.append(wall_s)

    def put_back(self, task: Task) -> None:
        """Another works on it, or it was interrupted: it is looked at again later."""
        with self._lock:
            self._running.discard(task.key)
            self._not_before[task.key] = self._clock() + BUSY_S

    def newly_skipped(self) -> list[tuple[Task, State]]:
        """Tasks that are skipped, each said once."""
        with self._lock:
            found = [
                (task, state)
                for task, state in self.states()
                if state.status == "skipped" and task.key not in self._said
            ]
            self._said |= {task.key for task, _ in found}
            return found

    def tally(self) -> Tally:
        with self._lock:
            statuses = [state.status for _, state in self.states()]
            left = statuses.count("open")
            pace_s = statistics.fmean(self._walls) if self._walls else None
            return Tally(
                completed=statuses.count("completed"),
                failed=statuses.count("failed"),
                skipped=statuses.count("skipped"),
                left=left,
                left_s=None if pace_s is None else pace_s * left / self._workers,
            )
