"""Calls in processes of their own, some at a time: what one needs of memory is given back, and what ends one harms no
other."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from llm_perf_opt.errors import StageError

GRACE_S = 5.0
"""After an interrupt, for calls that have begun."""
A = TypeVar("A")
R = TypeVar("R")


def cores() -> int:
    """Cores that this process may use."""
    # macOS has no affinity.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def each(call: Callable[[A], R], arguments: Sequence[A], workers: int) -> Iterator[tuple[int, R | StageError]]:
    """Call with each argument; (position, what came of it) as they end.

    Args:
        call: a function of a module; it must not raise, and what it is given and returns must be picklable.
        workers: processes; with one, or for one argument, this process does it.

    Raises:
        KeyboardInterrupt: again, after what had begun has ended and was given out, or was killed.
    """
    workers = min(workers, len(arguments))
    if workers < 2:
        for position, argument in enumerate(arguments):
            yield position, call(argument)
        return
    left = list(range(len(arguments)))
    while left:
        broken = False
        for position, result in _in_pool(call, arguments, left, workers):
            if result is None:
                broken = True
            else:
                left.remove(position)
                yield position, result
        if broken and workers == 1:
            yield (
                left.pop(0),
                StageError("the process that read it was ended from outside", "is there enough memory? try --jobs 1"),
            )
        elif broken:
            workers = 1  # which of them it was is not known: one at a time will show


def _in_pool(
    call: Callable[[A], R], arguments: Sequence[A], positions: Sequence[int], workers: int
) -> Iterator[tuple[int, R | None]]:
    """(position, result) as they end; None for a result that was lost with its process."""
    with _pool(workers) as pool:
        futures: dict[Future[R], int] = {}
        try:
            futures = {pool.submit(call, arguments[position]): position for position in positions}
            yield from _ended(futures)
            # One of these idle processes holds the lock that the others wait for to be told the end: were it ended from
            # outside now, they and this process would wait for ever.
            _kill_all()
        except BrokenProcessPool:
            yield positions[0], None
        except GeneratorExit:  # nobody asks for more
            pool.shutdown(wait=False, cancel_futures=True)
            _wait_for_begun(futures)
            raise
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            _wait_for_begun(futures)
            for future in [future for future in futures if future.cancelled()]:
                del futures[future]
            yield from _ended(futures)
            raise


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    # Spawned: the threads of this process and what it has imported stay out of them.
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_prepare) as pool:
            yield pool
    except KeyboardInterrupt:  # while it was closed, too
        _kill_all()
        raise


def _wait_for_begun(futures: Collection[Future[R]]) -> None:
    """Let what has begun end, for a while; then, or when interrupted again, the processes are killed, idle ones too:
    one that hangs would be waited for when the pool is closed."""
    try:
        wait([future for future in futures if not future.cancelled()], timeout=GRACE_S)
    finally:
        _kill_all()


def _kill_all() -> None:
    for process in multiprocessing.active_children():
        process.kill()


def _ended(futures: dict[Future[R], int]) -> Iterator[tuple[int, R | None]]:
    """What comes of them, in the order in which they end; those that were given out are not in `futures` any more."""
    while futures:
        for future in sorted(wait(futures, return_when=FIRST_COMPLETED).done, key=futures.__getitem__):
            position = futures.pop(future)
            try:
                yield position, future.result()
            except BrokenProcessPool:
                yield position, None


def _prepare() -> None:
    """In a new process: an interrupt is for the one that started it, and without that one it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
