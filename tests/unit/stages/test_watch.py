"""What is followed of a child under a tool."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_perf_opt.stages.child import ChildWatch
from llm_perf_opt.workload.events import EventReader


class Nobody:
    def update(self, phase: str, done: int, total: int, steps: int) -> None:
        return None


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [0.0]
    monkeypatch.setattr("llm_perf_opt.stages.child.time.monotonic", lambda: clock[0])
    return clock


def test_what_the_tool_writes_is_a_move(tmp_path: Path, now: list[float]) -> None:
    log = tmp_path / "log"
    watch = ChildWatch(EventReader(tmp_path / "events"), Nobody(), 10.0, log=log)
    now[0] = 8.0
    log.write_text("==PROF== 50%")
    assert watch.tick()
    now[0] = 16.0
    assert watch.tick()
    now[0] = 19.0
    assert not watch.tick()
    assert watch.stalled


def test_a_program_that_is_run_again_starts_over(tmp_path: Path, now: list[float]) -> None:
    events = tmp_path / "events"
    watch = ChildWatch(EventReader(events), Nobody(), 10.0)
    events.write_text('{"kind": "device", "name": "cuda:0"}\n{"kind": "done"}\n')
    watch.tick()
    assert (watch.done, watch.device) == (True, "cuda:0")
    with events.open("a") as file:
        file.write('{"kind": "device", "name": "cuda:0"}\n')
    watch.tick()
    assert not watch.done
