"""What becomes of calls that have begun when nobody wants them any more."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Future

import pytest

from llm_perf_opt.importing import parallel


class Process:
    """Is killed."""

    def __init__(self) -> None:
        self.killed = False

    def kill(self) -> None:
        self.killed = True


@pytest.mark.parametrize("ended", [True, False])
def test_a_call_that_does_not_end_is_killed_after_an_interrupt(monkeypatch: pytest.MonkeyPatch, ended: bool) -> None:
    process = Process()
    monkeypatch.setattr(multiprocessing, "active_children", lambda: [process])
    monkeypatch.setattr(parallel, "GRACE_S", 0.01)
    begun, cancelled = Future[int](), Future[int]()
    begun.set_running_or_notify_cancel()
    cancelled.cancel()
    if ended:
        begun.set_result(1)
    parallel._wait_for_begun([begun, cancelled])
    assert process.killed, "an idle one may hang as well"
