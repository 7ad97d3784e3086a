"""The directory of a sweep, which is all the state it has: what every point came to is read from there alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from llm_perf_opt import __version__
from llm_perf_opt.artifacts.files import write_text, writing
from llm_perf_opt.artifacts.layout import CONFIG, MANIFEST
from llm_perf_opt.artifacts.run_directory import read_manifest
from llm_perf_opt.config.dump import to_yaml
from llm_perf_opt.errors import ConfigError, MissingError
from llm_perf_opt.records.manifest import Manifest
from llm_perf_opt.records.sweep import PointEnd, PointStatus, SweepPoint, SweepRequest
from llm_perf_opt.redact import redact_argv
from llm_perf_opt.sweep.points import Task

REQUEST = "sweep.json"
POINTS = "points"
CONTROL = "control"
"""Configurations, leases and output of the commands."""
OUT_OF_MEMORY = "out of memory"
"""What the reason of a stage holds that had too little; `workload/out_of_memory.py` writes it."""


@dataclass(frozen=True)
class State:
    """What one launch of a point has come to."""

    status: PointStatus
    reason: str | None = None
    remedy: str | None = None
    exit_code: int | None = None
    out_of_memory: bool = False
    wall_s: float | None = None
    """From its start to its end."""
    ended: str | None = None
    """Tells one failure from the next of the same launch."""

    @property
    def settled(self) -> bool:
        return self.status != "open"


OPEN = State("open")


@dataclass(frozen=True)
class SweepDirectory:
    """Where the runs of a sweep are."""

    path: Path

    def run_path(self, task: Task) -> Path:
        return self.path / POINTS / task.key

    def config_path(self, task: Task) -> Path:
        return self._control(task, "yaml")

    def log_path(self, task: Task) -> Path:
        return self._control(task, "log")

    def end_path(self, task: Task) -> Path:
        return self._control(task, "json")

    def _control(self, task: Task, kind: str) -> Path:
        return self.control / f"{task.key}.{kind}"

    @property
    def control(self) -> Path:
        return self.path / CONTROL

    def open(self, points: Sequence[SweepPoint], *, launches: int, argv: Sequence[str]) -> SweepRequest:
        """Take `points` up, beside those that were asked for before; all of them.

        Raises:
            ConfigError: the directory holds something else.
            MissingError, StageError: it cannot be written.
        """
        before = self.request()
        if before is None and self.path.is_dir() and any(self.path.iterdir()):
            raise ConfigError(f"{self.path} holds no sweep and is not empty", "choose another --output")
        known = {} if before is None else {point.id: point for point in before.points}
        refuse_other_keys(self.path, [*known.values()], points)
        request = SweepRequest(
            llmperf_version=__version__,
            argv=tuple(redact_argv(argv)),
            launches=max(launches, before.launches if before else 1),
            points=tuple({**known, **{point.id: point for point in points}}.values()),
        )
        with writing(self.path):
            for folder in (POINTS, CONTROL):
                (self.path / folder).mkdir(parents=True, exist_ok=True)
        if request != before:
            write_text(self.path / REQUEST, request.model_dump_json(indent=2) + "\n")
        return request

    def request(self) -> SweepRequest | None:
        """What was asked for before; None where nothing was.

        Raises:
            MissingError: it cannot be read.
        """
        file = self.path / REQUEST
        try:
            return SweepRequest.read(file)
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise MissingError(f"{file} cannot be read: {error}", "choose another --output") from error

    def write_config(self, task: Task) -> None:
        """What the point's run is started from: later changes of the files it came from do not reach it."""
        if not self.config_path(task).exists():
            assert task.config is not None, "only tasks that were planned are run"
            write_text(self.config_path(task), to_yaml(task.config))

    def state(self, task: Task) -> State:
        """What `task` has come to, as its run directory says, else as was noted of it.

        Raises:
            MissingError: its manifest cannot be read.
        """
        run = self.run_path(task)
        if (run / MANIFEST).exists():
            manifest = read_manifest(run)
            if manifest.status in ("completed", "failed"):
                return _ended(manifest)
        try:
            end = PointEnd.read(self.end_path(task))
        except FileNotFoundError:
            return OPEN
        except (OSError, ValidationError):
            return OPEN  # at worst it fails once more
        return State("failed", end.reason, end.remedy, end.exit_code, end.out_of_memory, ended=end.reason)

    def is_begun(self, task: Task) -> bool:
        """Whether there is a run to go on with; one that was killed before it said what it does is removed."""
        run = self.run_path(task)
        if not (run / MANIFEST).exists():
            return False
        if (run / CONFIG).exists():
            return True
        with writing(run):
            shutil.rmtree(run)
        return False

    def note_end(self, task: Task, end: PointEnd) -> None:
        write_text(self.end_path(task), end.model_dump_json(indent=2) + "\n")

    def forget_end(self, task: Task) -> None:
        self.end_path(task).unlink(missing_ok=True)


def refuse_other_keys(path: Path, before: Sequence[SweepPoint], points: Sequence[SweepPoint]) -> None:
    """Raise ConfigError where two sweeps do not go over the same keys: their points have no table in common."""
    old = list(before[0].settings) if before else []
    new = list(points[0].settings)
    if before and set(old) != set(new):
        raise ConfigError(
            f"{path} holds a sweep over {', '.join(old) or 'nothing'}, not over {', '.join(new) or 'nothing'}",
            "choose another --output; more values of the same keys may be added",
        )


def _ended(manifest: Manifest) -> State:
    wall_s = None
    if manifest.ended is not None:
        wall_s = (datetime.fromisoformat(manifest.ended) - datetime.fromisoformat(manifest.created)).total_seconds()
    if manifest.status == "completed":
        return State("completed", exit_code=0, wall_s=wall_s, ended=manifest.ended)
    failed = [(name, entry) for name, entry in manifest.stages.items() if entry.status == "failed"]
    reasons = [f"{name}: {entry.reason}" for name, entry in failed] or list(manifest.problems)
    return State(
        "failed",
        reason="; ".join(reasons) or f"exit code {manifest.exit_code}",
        remedy=next((entry.remedy for _, entry in failed if entry.remedy), None),
        exit_code=manifest.exit_code,
        out_of_memory=any(OUT_OF_MEMORY in (entry.reason or "") for _, entry in failed),
        wall_s=wall_s,
        ended=manifest.ended,
    )


def out_of_memory_at(states: Iterable[tuple[Task, State]]) -> dict[str, int]:
    """Group → the smallest batch that ran out of memory."""
    found: dict[str, int] = {}
    for task, state in states:
        if state.out_of_memory:
            found[task.point.group] = min(task.point.batch, found.get(task.point.group, task.point.batch))
    return found


def skipped(task: Task, too_large: dict[str, int]) -> State | None:
    """The state of a task that is not run since a smaller batch of its group ran out of memory; else None."""
    batch = too_large.get(task.point.group)
    if batch is None or task.point.batch <= batch:
        return None
    return State("skipped", f"infer.batch_size {batch} of the same setting ran out of memory")
