"""Ranks that a launcher has started: how the others find the first one's run, new or resumed, whatever clocks show."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.artifacts.layout import MANIFEST, launch_dir, rank_dir, scratch_dir
from llm_perf_opt.config.schema import Artifacts, Config, Parallel
from llm_perf_opt.errors import ConfigError, StageError
from llm_perf_opt.records.manifest import Manifest
from llm_perf_opt.stages import given
from llm_perf_opt.stages.given import Others, announced, check_resumed, follow, meeting_file, own_code
from llm_perf_opt.stages.ranks import _Unseen, error_of_ranks, watch_ranks
from llm_perf_opt.tools.process import Finished
from llm_perf_opt.workload.ranks import Ranks

FIRST, SECOND = Ranks(0, 2, 0, "torchrun"), Ranks(1, 2, 1, "torchrun")


class Started:
    """In place of a rank's child: keeps its orders, and runs until it is done or is to stop."""

    def __init__(self) -> None:
        self.orders: list[str] = []
        self.signal: str | None = None
        """That ends every child."""
        self.lasts = threading.Event()
        """Set: every child runs until it is stopped."""

    def __call__(self, argv: Sequence[str], *, log: Path, on_tick: Callable[[], bool], **_: Any) -> Finished:
        self.orders.append(argv[-1])
        while self.lasts.is_set() and on_tick():
            time.sleep(0.001)
        code = None if self.signal else 0
        return Finished(
            tuple(argv),
            code,
            self.signal,
            timed_out=False,
            stopped_by_caller=False,
            wall_s=0.0,
            log=log,
            log_truncated=False,
        )


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    found = Started()
    monkeypatch.setattr(given, "run", found)
    monkeypatch.setattr(given, "POLL_S", 0.001)
    monkeypatch.setattr(given, "ANNOUNCE_LIMIT_S", 5.0)
    monkeypatch.setattr(given, "LATE_LIMIT_S", 5.0)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("MASTER_PORT", "1")
    return found


def config(folder: Path) -> Config:
    return Config(artifacts=Artifacts(runs_dir=str(folder / "runs")), parallel=Parallel(tensor=2))


def manifest(run: Path, status: Any, ended: str | None = None, code: int | None = None) -> None:
    run.mkdir(exist_ok=True)
    # By a clock that is an hour behind.
    made = Manifest(llmperf_version="0", argv=(), created="2001-01-01T00:00:00Z", stages={}, status=status)
    write_text(run / MANIFEST, made.model_copy(update={"ended": ended, "exit_code": code}).model_dump_json())


def child(scratch: Path, meeting: str) -> None:
    """One child of the first rank, with its partner."""
    scratch.mkdir(parents=True, exist_ok=True)
    others = Others(scratch, meeting, 2)
    others.begin()
    others.finish(wait=True)


def following(folder: Path, pool: ThreadPoolExecutor) -> Future[int]:
    return pool.submit(follow, config(folder), SECOND)


@pytest.mark.parametrize("launches", [1, 2])
def test_every_child_of_the_first_rank_has_its_partner(launches: int, tmp_path: Path, started: Started) -> None:
    run = tmp_path / "run"
    manifest(run, "running")
    scratch = scratch_dir(run, "direct_inference")
    with ThreadPoolExecutor() as pool:
        other = following(tmp_path, pool)
        with announced(config(tmp_path), FIRST, run):
            for number in range(launches):
                child(launch_dir(scratch, number, launches), f"meeting{number}")
            manifest(run, "failed", "2001-01-01T00:00:09Z", 1)
        assert other.result(5) == 1
    assert started.orders == [str(launch_dir(scratch, at, launches) / "order.json") for at in range(launches)]
    assert not list((tmp_path / "runs").iterdir()), "nothing of it stays"


def test_a_rank_that_was_killed_is_named_with_its_signal(tmp_path: Path, started: Started) -> None:
    run = tmp_path / "run"
    manifest(run, "running")
    scratch = _made(scratch_dir(run, "direct_inference"))
    for rank in range(2):
        _made(rank_dir(scratch, rank))
    started.signal = "SIGKILL"
    others = Others(scratch, "meeting", 2)
    with ThreadPoolExecutor() as pool:
        other = following(tmp_path, pool)
        with announced(config(tmp_path), FIRST, run):
            others.begin()
            while others.well():
                time.sleep(0.001)
            others.finish(wait=False)
            manifest(run, "failed", "2001-01-01T00:00:09Z", 1)
        assert other.result(5) == 1
    assert others.own_codes() == {1: -9}
    log = scratch / "child.log"
    log.write_text("")
    stopped = Finished((), None, "SIGTERM", False, stopped_by_caller=True, wall_s=1.0, log=log, log_truncated=False)
    assert own_code(stopped) == 0, "a rank that was stopped did not end of itself"
    error = error_of_ranks(watch_ranks(scratch, 2, _Unseen(), 60.0), stopped, log, [(1, -9)])
    assert error is not None
    assert error.message == "rank 1 was ended by SIGKILL in phase 'start', and the others were stopped"


@pytest.mark.parametrize(("status", "ended"), [("running", None), ("interrupted", "2001-01-01T00:00:05Z")])
def test_a_run_that_was_killed_or_interrupted_is_resumed(
    status: str, ended: str | None, tmp_path: Path, started: Started
) -> None:
    run = tmp_path / "run"
    manifest(run, status, ended, 130)
    scratch = scratch_dir(run, "direct_inference")
    scratch.mkdir(parents=True)
    (scratch / "start.of-ranks-that-are-gone").write_text("")
    said = _made(tmp_path / "runs") / ".ranks-of-another-port.json"
    said.write_text(json.dumps({"run": str(run), "token": "before", "before": None}))
    said.with_name(f"{said.name}.before.1").write_text("")
    with ThreadPoolExecutor() as pool:
        other = following(tmp_path, pool)
        with announced(config(tmp_path), FIRST, run):
            child(scratch, "now")
            manifest(run, "completed", "2001-01-01T00:00:09Z", 0)
        assert other.result(5) == 0
    assert len(started.orders) == 1
    assert not list((tmp_path / "runs").iterdir())


def test_one_with_nothing_left_ends_for_all_ranks(tmp_path: Path, started: Started) -> None:
    run = tmp_path / "run"
    manifest(run, "completed", "2001-01-01T00:00:05Z", 0)
    with ThreadPoolExecutor() as pool, announced(config(tmp_path), FIRST, run):
        other = following(tmp_path, pool)
    assert (other.result(5), started.orders) == (0, [])


def test_a_rank_leaves_a_run_whose_first_rank_was_killed_for_the_next(tmp_path: Path, started: Started) -> None:
    dead, run = tmp_path / "dead", tmp_path / "run"
    manifest(dead, "running")
    manifest(run, "running")
    file = meeting_file(config(tmp_path), os.environ)
    file.parent.mkdir()
    file.write_text(json.dumps({"run": str(dead), "token": "before", "before": None}))
    Others(_made(scratch_dir(dead, "direct_inference")), "dead", 2).begin()
    started.lasts.set()
    with ThreadPoolExecutor() as pool:
        other = following(tmp_path, pool)
        until = time.monotonic() + 5
        while not started.orders and time.monotonic() < until:
            time.sleep(0.001)
        with announced(config(tmp_path), FIRST, run):
            manifest(run, "completed", "2001-01-01T00:00:09Z", 0)
        assert other.result(5) == 0
    assert started.orders == [str(scratch_dir(dead, "direct_inference") / "order.json")]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def test_what_was_announced_long_ago_is_not_taken(
    tmp_path: Path, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(given, "ANNOUNCE_LIMIT_S", 0.05)
    manifest(tmp_path / "run", "running")
    file = meeting_file(config(tmp_path), os.environ)
    file.parent.mkdir()
    file.write_text(json.dumps({"run": str(tmp_path / "run"), "token": "before", "before": None}))
    os.utime(file, (0, 0))
    with pytest.raises(StageError, match="rank 1 waited 0 s for the run of rank 0"):
        follow(config(tmp_path), SECOND)
    assert not started.orders


def test_a_run_is_resumed_on_as_many_ranks_as_it_has(tmp_path: Path) -> None:
    check_resumed(config(tmp_path), SECOND)
    check_resumed(config(tmp_path), None)
    with pytest.raises(ConfigError, match="torchrun started 4 ranks, and the run to resume has 2"):
        check_resumed(config(tmp_path), Ranks(0, 4, 0, "torchrun"))
    with pytest.raises(ConfigError, match="starts ranks on this machine alone"):
        check_resumed(Config(parallel=Parallel(tensor=4, nodes=2)), None)
