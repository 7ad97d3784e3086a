"""Following the children of all ranks of a sharded model at once, and which of them to believe when they end.

A rank that fails takes the others with it: they lose their partner in the middle of a collective and complain of that.
The error that is told is that of the rank that was first to have one of its own.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llm_perf_opt.artifacts.layout import CHILD_LOG, EVENTS, ORDER, rank_dir
from llm_perf_opt.errors import LlmperfError, StageError
from llm_perf_opt.stages.base import Progress
from llm_perf_opt.stages.child import (
    ChildWatch,
    child_environment,
    hide_in_log,
    own_words,
    rank_environment,
    secrets_for_child,
)
from llm_perf_opt.tools.process import Finished, run, tail
from llm_perf_opt.workload.events import EventReader
from llm_perf_opt.workload.order import WorkOrder, one_child_argv
from llm_perf_opt.workload.ranks import Ranks, ranks_of

_ENDED = re.compile(r"rank\s*:\s*(\d+) \(local_rank[^\n]*\n\s*exitcode\s*:\s*(-?\d+)")
"""In torchrun's summary of a failure, once for each rank that ended badly."""
_IN_USE = re.compile(r"EADDRINUSE|[Aa]ddress already in use")


def run_ranks(
    order: WorkOrder, argv: Sequence[str], progress: Progress, stall_limit_s: float, prefix: Sequence[str] = ()
) -> None:
    """Execute `order` in a fresh child for each rank.

    Raises:
        StageError, ConfigError, MissingError: a rank failed, crashed, was killed or hung; the others are stopped.
    """
    log, world = order.scratch_dir / CHILD_LOG, order.config.parallel.tensor
    watch = watch_ranks(order.scratch_dir, world, progress, stall_limit_s)
    given = ranks_of(os.environ)
    endings = None
    with secrets_for_child(order):
        if given is None:
            environment = {**child_environment(prefix), **rank_environment(order.config)}
            finished = run(argv, log=log, cwd=Path.cwd(), env=environment, on_tick=watch.tick)
        else:
            finished, endings = _run_given(order, given, watch, log)
    watch.tick()
    for file in (log, *watch.logs):
        hide_in_log(file)
    error = error_of_ranks(watch, finished, log, endings)
    if error is not None:
        raise error


def _run_given(order: WorkOrder, given: Ranks, watch: RankWatch, log: Path) -> tuple[Finished, list[tuple[int, int]]]:
    """The child of the first of the ranks that a launcher has started, while the others start theirs; how it ended, and
    the (rank, exit code) of those that ended badly of themselves."""
    from llm_perf_opt.stages.given import Others, given_environment, own_code

    others = Others(order.scratch_dir, order.meeting, given.world)
    others.begin()
    wait = False
    try:
        finished = run(
            one_child_argv(order.scratch_dir / ORDER),
            log=log,
            cwd=Path.cwd(),
            env=given_environment(order.config, given),
            on_tick=lambda: watch.tick() and others.well(),
        )
        wait = finished.ok
    finally:
        others.finish(wait=wait)
    codes = {given.rank: own_code(finished), **others.own_codes()}
    return finished, [(rank, code) for rank, code in sorted(codes.items()) if code]


class _Unseen:
    """Progress of ranks other than the first: all do the same."""

    def update(self, phase: str, done: int, total: int, steps: int) -> None:
        return None


@dataclass
class RankWatch:
    """The watches of all ranks."""

    ranks: tuple[ChildWatch, ...]
    logs: tuple[Path, ...]
    stalled: bool = field(default=False, init=False)

    def tick(self) -> bool:
        """Read what is new; False when they should be stopped because none of them moves any more."""
        moving = [watch.tick() for watch in self.ranks]
        left = [moves for moves, watch in zip(moving, self.ranks, strict=True) if not watch.done]
        # A rank that waits for another is silent for as long as that one works alone.
        self.stalled = bool(left) and not any(left)
        return not self.stalled


def watch_ranks(
    scratch_dir: Path, world: int, progress: Progress, stall_limit_s: float, log: Path | None = None
) -> RankWatch:
    """A watch of `world` ranks whose scratch directories are below `scratch_dir`.

    Args:
        log: of a tool around them that says itself how far it is.
    """
    folders = [rank_dir(scratch_dir, rank) for rank in range(world)]
    return RankWatch(
        tuple(
            ChildWatch(EventReader(folder / EVENTS), progress if rank == 0 else _Unseen(), stall_limit_s, log=log)
            for rank, folder in enumerate(folders)
        ),
        tuple(folder / CHILD_LOG for folder in folders),
    )


def error_of_ranks(
    watch: RankWatch, finished: Finished, log: Path, endings: Sequence[tuple[int, int]] | None = None
) -> LlmperfError | None:
    """Why the ranks did not all come to their end; None where they did.

    Args:
        log: of what started them.
        endings: (rank, exit code) of those that ended badly, the code of one that a signal ended below 0; None: the log
            is torchrun's and says it.
    """
    if all(rank.done for rank in watch.ranks) and finished.returncode == 0:
        return None
    for number, rank in enumerate(watch.ranks):
        if rank.failure is not None and not rank.failure.fields.get("another"):
            said = own_words(rank)
            assert said is not None
            return type(said)(f"rank {number}: {said.message}", said.remedy)
    if watch.stalled:
        return _hung(watch)
    text = tail(log, 400)
    for number, code in _said_by_torchrun(text) if endings is None else endings:
        if number < len(watch.ranks) and watch.ranks[number].failure is None:
            return _ended(watch, number, code)
    if _IN_USE.search(text):
        return StageError(
            f"the port where the ranks are to find one another is in use; what torchrun says of it is in {log}",
            "set parallel.rendezvous to HOST:PORT with a free port, or leave it out",
        )
    lost = [number for number, rank in enumerate(watch.ranks) if rank.failure is None and not rank.done]
    who = f"rank {', '.join(map(str, lost))}" if lost else "a rank"
    return StageError(f"{who} {finished.how_it_ended()} without a word; the last lines of {log}:\n{tail(log)}")


def _said_by_torchrun(text: str) -> list[tuple[int, int]]:
    cause = text[text.rfind("Root Cause") :] if "Root Cause" in text else text
    return [(int(found[1]), int(found[2])) for found in _ENDED.finditer(cause)]


def _ended(watch: RankWatch, number: int, code: int) -> StageError:
    rank, log = watch.ranks[number], watch.logs[number]
    name = signal.Signals(-code).name if code < 0 else None
    how = f"was ended by {name}" if name else f"ended with exit code {code}"
    hint = "the kernel kills a process that takes too much memory: see dmesg" if name == "SIGKILL" else ""
    lines = f"; the last lines of {log}:\n{text}" if (text := tail(log)) else ""
    return StageError(f"rank {number} {how} in phase {rank.phase[0]!r}, and the others were stopped{lines}", hint)


def _hung(watch: RankWatch) -> StageError:
    """Who is behind: the others have come to where they wait for it."""
    limit = watch.ranks[0].stall_limit_s
    where = "; ".join(
        f"rank {number}: {rank.phase[0]} {rank.phase[1]}/{rank.phase[2]}, {rank.steps:,} steps"
        for number, rank in enumerate(watch.ranks)
    )
    first = min(range(len(watch.ranks)), key=lambda number: watch.ranks[number].moved_at)
    return StageError(
        f"no rank made progress for {limit:.0f} s, rank {first} the first to stop, and all were stopped; {where}",
        "look at what it waits for: py-spy dump --pid PID while it hangs",
    )
