"""Running the workload child for a stage, and turning whatever becomes of it into a record or an error."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from llm_perf_opt.artifacts.files import write_text, writing
from llm_perf_opt.errors import LlmperfError, MissingError, StageError
from llm_perf_opt.records.workload import Workload
from llm_perf_opt.stages.base import Progress
from llm_perf_opt.tools.process import Finished, run, tail
from llm_perf_opt.workload.events import Event, EventReader
from llm_perf_opt.workload.order import EVENTS, LOG, ORDER, RESULT, WorkOrder, child_argv

STALL_LIMIT_S = 1800.0
"""A child that neither changes phase nor decodes a token for this long is taken to hang."""

CHILD_ENVIRONMENT = {
    # Nothing is downloaded at run time.
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "PYTHONUNBUFFERED": "1",
}


@dataclass
class Watch:
    """Follows a child's events: shows progress, keeps its last word, and notices when nothing moves any more."""

    reader: EventReader
    progress: Progress
    stall_limit_s: float
    phase: tuple[str, int, int] = ("start", 0, 1)
    steps: int = 0
    failure: Event | None = None
    done: bool = False
    stalled: bool = False
    moved_at: float = 0.0

    def __post_init__(self) -> None:
        self.moved_at = time.monotonic()

    def tick(self) -> bool:
        """Read what is new; False when the child should be stopped because it hangs."""
        for event in self.reader.read():
            self.moved_at = time.monotonic()
            self._take(event)
            self.progress.update(*self.phase, self.steps)
        self.stalled = time.monotonic() - self.moved_at > self.stall_limit_s
        return not self.stalled

    def _take(self, event: Event) -> None:
        if event.kind == "phase":
            self.phase = (event.fields["name"], event.fields["done"], event.fields["total"])
        elif event.kind == "step":
            self.steps = event.fields["count"]
        elif event.kind == "failed":
            self.failure = event
        elif event.kind == "done":
            self.done = True


def run_child(order: WorkOrder, progress: Progress, *, stall_limit_s: float = STALL_LIMIT_S) -> Workload:
    """Carry out `order` in a fresh child.

    Raises:
        StageError: the child failed, crashed, was killed or hung; the message ends with the tail of its log.
        MissingError: something it needs is missing.
    """
    with writing(order.output_dir):
        order.output_dir.mkdir(parents=True, exist_ok=True)
        order.scratch_dir.mkdir(parents=True, exist_ok=True)
    order_path, log = order.scratch_dir / ORDER, order.scratch_dir / LOG
    (order.scratch_dir / EVENTS).unlink(missing_ok=True)
    write_text(order_path, order.model_dump_json(indent=2) + "\n")
    watch = Watch(EventReader(order.scratch_dir / EVENTS), progress, stall_limit_s)
    finished = run(
        child_argv(order_path),
        log=log,
        cwd=Path.cwd(),
        env={**os.environ, **CHILD_ENVIRONMENT},
        on_tick=watch.tick,
    )
    watch.tick()
    error = _error(watch, finished, log)
    if error is not None:
        raise error
    return read_result(order.output_dir)


def read_result(output_dir: Path) -> Workload:
    """What the child measured."""
    return Workload.model_validate_json((output_dir / RESULT).read_bytes())


def _error(watch: Watch, finished: Finished, log: Path) -> LlmperfError | None:
    if watch.failure is not None:
        fields = watch.failure.fields
        kind = MissingError if fields["exit_code"] == MissingError.exit_code else StageError
        return kind(fields["error"], fields["remedy"])
    if watch.done and finished.returncode == 0:
        return None
    where = f"in phase {watch.phase[0]!r}"
    last_lines = f"; the last lines of {log}:\n{tail(log)}"
    if watch.stalled:
        return StageError(
            f"the child made no progress for {watch.stall_limit_s:.0f} s {where} and was stopped{last_lines}",
            "look at what it waits for: py-spy dump --pid PID while it hangs",
        )
    if finished.signal is not None:
        hint = (
            "the kernel kills a process that takes too much memory: see dmesg" if finished.signal == "SIGKILL" else ""
        )
        return StageError(f"the child was ended by {finished.signal} {where}{last_lines}", hint)
    return StageError(f"the child ended with exit code {finished.returncode} {where}{last_lines}")
