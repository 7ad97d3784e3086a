"""Running the workload child for a stage, and turning whatever becomes of it into a record or an error."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llm_perf_opt.artifacts.files import write_text, writing
from llm_perf_opt.artifacts.layout import (
    CHILD_LOG,
    EVENTS,
    ORDER,
    PEAKS,
    PRIVATE_ORDER,
    TOKENS,
    WORKLOAD,
    rank_dirs,
)
from llm_perf_opt.config.schema import Config
from llm_perf_opt.errors import ConfigError, LlmperfError, MissingError, StageError
from llm_perf_opt.records.workload import RangesSent
from llm_perf_opt.redact import hidden_paths, redact_text, redact_tree
from llm_perf_opt.stages.base import Progress
from llm_perf_opt.tools.process import Finished, run, tail
from llm_perf_opt.workload.events import Event, EventReader
from llm_perf_opt.workload.order import WorkOrder, child_argv

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
class ChildWatch:
    """Follows a child's events: shows progress, keeps its last word, and notices when nothing moves any more.

    Under a tool that says itself how far it is, what is written to `log` is a move too: replaying one decode step can
    take longer than any silence of the child alone.
    """

    reader: EventReader
    progress: Progress
    stall_limit_s: float
    log: Path | None = None
    phase: tuple[str, int, int] = ("start", 0, 1)
    steps: int = 0
    failure: Event | None = None
    done: bool = False
    stalled: bool = False
    moved_at: float = 0.0
    device: str | None = None
    ranges: RangesSent | None = None
    """Through what the child sends its ranges; how many is in its result."""
    log_size: int = 0

    def __post_init__(self) -> None:
        self.moved_at = time.monotonic()

    def tick(self) -> bool:
        """Read what is new; False when the child should be stopped because it hangs."""
        for event in self.reader.read():
            self.moved_at = time.monotonic()
            self._take(event)
            self.progress.update(*self.phase, self.steps)
        if self.log is not None and self.log.exists() and (size := self.log.stat().st_size) != self.log_size:
            self.log_size, self.moved_at = size, time.monotonic()
        self.stalled = time.monotonic() - self.moved_at > self.stall_limit_s
        return not self.stalled

    def _take(self, event: Event) -> None:
        if event.kind == "phase":
            self.phase = (event.fields["name"], event.fields["done"], event.fields["total"])
        elif event.kind == "step":
            self.steps = event.fields["count"]
        elif event.kind == "device":
            # A program that is run again (application replay) starts over.
            self.device, self.done = event.fields["name"], False
        elif event.kind == "ranges":
            self.ranges = RangesSent(**event.fields)
        elif event.kind == "failed":
            self.failure = event
        elif event.kind == "done":
            self.done = True


def write_order(order: WorkOrder, prefix: Sequence[str] = ()) -> list[str]:
    """Make the child's directories and write what it reads; the command, which begins with `prefix`."""
    with writing(order.output_dir):
        order.output_dir.mkdir(parents=True, exist_ok=True)
        order.scratch_dir.mkdir(parents=True, exist_ok=True)
    # What an earlier attempt left would be taken for this one's.
    (order.scratch_dir / EVENTS).unlink(missing_ok=True)
    for name in (WORKLOAD, TOKENS, PEAKS):
        (order.output_dir / name).unlink(missing_ok=True)
    for directory in (order.scratch_dir, order.output_dir):
        for old in rank_dirs(directory):
            shutil.rmtree(old)
    parallel = order.config.parallel
    for rank in range(parallel.tensor if parallel.tensor > 1 else 0):
        own = order.of_rank(rank)
        with writing(own.output_dir):
            own.scratch_dir.mkdir()
            own.output_dir.mkdir()
    order_path = order.scratch_dir / ORDER
    plain = order.model_dump(mode="json")
    write_text(order_path, json.dumps(redact_tree(plain), indent=2, ensure_ascii=False) + "\n")
    return child_argv(order_path, parallel, prefix)


def child_environment(prefix: Sequence[str] = ()) -> dict[str, str]:
    """This process's, with what every child gets; a `python` that a prefix does not bring itself is this one."""
    environment = {**os.environ, **CHILD_ENVIRONMENT}
    if prefix:
        own = str(Path(sys.executable).parent)
        environment["PATH"] = os.pathsep.join([own, environment.get("PATH", os.defpath)])
    return environment


@contextlib.contextmanager
def secrets_for_child(order: WorkOrder) -> Iterator[None]:
    """While the child runs, and only where the order holds a secret: the order as it is, for the user alone.

    Not in the child's environment, which nsys records of every process; not through a pipe, since ncu starts a program
    that it replays again and again. What a killed run leaves of it is removed with its half-written files.
    """
    plain = order.model_dump(mode="json")
    if not any(hidden_paths(plain)):
        yield
        return
    path = order.scratch_dir / PRIVATE_ORDER
    try:
        write_text(path, order.model_dump_json(indent=2) + "\n", mode=0o600)
        yield
    finally:
        path.unlink(missing_ok=True)


def run_child(
    order: WorkOrder, progress: Progress, *, prefix: Sequence[str] = (), stall_limit_s: float = STALL_LIMIT_S
) -> None:
    """Execute `order` in a fresh child, whose command begins with `prefix`.

    Raises:
        StageError: the child failed, crashed, was killed or hung; the message ends with the tail of its log.
        MissingError: something it needs is missing.
    """
    argv, log = write_order(order, prefix), order.scratch_dir / CHILD_LOG
    if order.config.parallel.tensor > 1:
        from llm_perf_opt.stages.ranks import run_ranks

        run_ranks(order, argv, progress, stall_limit_s, prefix)
        return
    watch = ChildWatch(EventReader(order.scratch_dir / EVENTS), progress, stall_limit_s)
    with secrets_for_child(order):
        finished = run(argv, log=log, cwd=Path.cwd(), env=child_environment(prefix), on_tick=watch.tick)
    watch.tick()
    hide_in_log(log)
    error = _error(watch, finished, log)
    if error is not None:
        raise error


def rank_environment(config: Config) -> dict[str, str]:
    """What ranks get beside the environment of any child."""
    # transformers shards over the devices of the machine, not over those it is given.
    return {"CUDA_VISIBLE_DEVICES": ""} if config.parallel.tensor > 1 and config.device == "cpu" else {}


def hide_in_log(log: Path) -> None:
    """Hide the secrets that a program wrote into its log; nothing writes it any more."""
    try:
        text = log.read_bytes().decode(errors="surrogateescape")
    except FileNotFoundError:
        return
    hidden = "".join(map(redact_text, text.splitlines(keepends=True)))
    if hidden != text:
        write_text(log, hidden.encode(errors="surrogateescape").decode(errors="backslashreplace"))


def own_words(watch: ChildWatch) -> LlmperfError | None:
    """The error that the child itself gave, or None."""
    if watch.failure is None:
        return None
    fields = watch.failure.fields
    kinds: dict[int, type[LlmperfError]] = {kind.exit_code: kind for kind in (StageError, ConfigError, MissingError)}
    kind = kinds[fields["exit_code"]]
    return kind(fields["error"], fields["remedy"])


def stall_error(watch: ChildWatch, what: str, log: Path) -> StageError:
    """The error of a child, or a tool around it, that was stopped because nothing moved."""
    return StageError(
        f"{what} made no progress for {watch.stall_limit_s:.0f} s in phase {watch.phase[0]!r} and was stopped"
        f"{_last_lines(log)}",
        "look at what it waits for: py-spy dump --pid PID while it hangs",
    )


def _last_lines(log: Path) -> str:
    return f"; the last lines of {log}:\n{tail(log)}"


def _error(watch: ChildWatch, finished: Finished, log: Path) -> LlmperfError | None:
    if watch.failure is not None:
        return own_words(watch)
    if watch.done and finished.returncode == 0:
        return None
    where = f"in phase {watch.phase[0]!r}"
    last_lines = _last_lines(log)
    if watch.stalled:
        return stall_error(watch, "the child", log)
    if finished.signal is not None:
        hint = (
            "the kernel kills a process that takes too much memory: see dmesg" if finished.signal == "SIGKILL" else ""
        )
        return StageError(f"the child was ended by {finished.signal} {where}{last_lines}", hint)
    return StageError(f"the child ended with exit code {finished.returncode} {where}{last_lines}")
