"""What has become of points, read from the directory alone; what is left to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_perf_opt.artifacts.layout import CONFIG
from llm_perf_opt.errors import ConfigError, StageError
from llm_perf_opt.records.sweep import PointEnd
from llm_perf_opt.sweep.board import Board
from llm_perf_opt.sweep.directory import State, SweepDirectory, out_of_memory_at, skipped
from llm_perf_opt.sweep.leases import Leases, Pace
from llm_perf_opt.sweep.local import LocalSweep, devices_of
from llm_perf_opt.tools.process import Finished
from tests.standins.sweeper import Silent
from tests.unit.sweep.leaving import OOM, leave, point, task


@pytest.fixture
def directory(tmp_path: Path) -> SweepDirectory:
    found = SweepDirectory(tmp_path / "sweep")
    found.open([point()], launches=1, argv=["llmperf", "sweep"])
    return found


def test_a_point_is_what_its_run_says(directory: SweepDirectory) -> None:
    assert directory.state(task(1)) == State("open")
    leave(directory, task(1))
    leave(directory, task(2), status="failed", reason="the child was ended by SIGSEGV")
    leave(directory, task(8), status="failed", reason=OOM)
    leave(directory, task(3), status="running")
    leave(directory, task(4), status="interrupted")
    found = {batch: directory.state(task(batch)) for batch in (1, 2, 3, 4, 8)}
    assert [state.status for state in found.values()] == ["completed", "failed", "open", "open", "failed"]
    assert found[1].wall_s == 90.0
    assert found[2].reason == "direct_inference: the child was ended by SIGSEGV"
    assert [state.out_of_memory for state in found.values()] == [False, False, False, False, True]


def test_what_a_run_cannot_say_is_noted_beside_it(directory: SweepDirectory) -> None:
    directory.note_end(task(1), PointEnd(reason="the run was ended by SIGKILL", exit_code=1))
    assert directory.state(task(1)).reason == "the run was ended by SIGKILL"
    leave(directory, task(1))
    assert directory.state(task(1)).status == "completed", "somebody has resumed it by hand"


def test_a_run_that_was_killed_before_it_said_what_it_does_is_made_anew(directory: SweepDirectory) -> None:
    run = leave(directory, task(1), status="running")
    assert directory.is_begun(task(1))
    (run / CONFIG).unlink()
    assert not directory.is_begun(task(1))
    assert not run.exists()


def test_more_values_may_be_added_and_other_keys_may_not(directory: SweepDirectory, tmp_path: Path) -> None:
    request = directory.open([point(2), point(1)], launches=2, argv=["llmperf", "sweep", "dataset.prompt=x"])
    assert [each.batch for each in request.points] == [1, 2]
    assert request == directory.request()
    assert directory.open([point(1)], launches=1, argv=[]).launches == 2
    more = {"infer.seed": 1}
    with pytest.raises(ConfigError, match=r"not over infer\.batch_size, infer\.seed"):
        directory.open([point(2, "g", **more)], launches=1, argv=[])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("x")
    with pytest.raises(ConfigError, match="holds no sweep"):
        SweepDirectory(tmp_path / "mine").open([point()], launches=1, argv=[])


OUTCOMES = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from("ab"), st.sampled_from(["open", "completed", "failed", "oom"])),
    unique_by=lambda each: each[:2],
    max_size=10,
)


@given(OUTCOMES)
def test_larger_batches_than_one_that_ran_out_of_memory_are_skipped(outcomes: list[tuple[int, str, str]]) -> None:
    states = [
        (task(batch, group), State("failed" if what == "oom" else what, out_of_memory=what == "oom"))  # type: ignore[arg-type]
        for batch, group, what in outcomes
    ]
    too_large = out_of_memory_at(states)
    for batch, group, _ in outcomes:
        brute = any(what == "oom" and other == group and size < batch for size, other, what in outcomes)
        found = skipped(task(batch, group), too_large)
        assert (found is not None) == brute
        assert found is None or "ran out of memory" in (found.reason or "")


def test_the_board_gives_every_task_to_one_and_skips_what_need_not_be_tried(directory: SweepDirectory) -> None:
    clock = [0.0]
    tasks = [task(1), task(2), task(4), task(4, "other")]
    leave(directory, task(1))
    board = Board(tasks, directory, workers=2, clock=lambda: clock[0])
    first, second, third = board.next(), board.next(), board.next()
    assert (first, second, third, board.next()) == (task(2), task(4), task(4, "other"), None)
    assert board.is_over(), "others of this process have the rest"
    board.put_back(task(4))
    board.put_back(task(4, "other"))
    assert board.next() is None, "another sweeper has them: looked at again in a while"
    clock[0] = 3.0
    board.settle(task(2), State("failed", out_of_memory=True), wall_s=10.0)
    assert board.newly_skipped() == [(task(4), board.state(task(4)))]
    assert board.newly_skipped() == []
    assert board.next() == task(4, "other")
    tally = board.tally()
    assert (tally.completed, tally.failed, tally.skipped, tally.left, tally.left_s) == (1, 1, 1, 1, 5.0)


def test_a_directory_that_cannot_be_written_ends_the_sweep(directory: SweepDirectory) -> None:
    shutil.rmtree(directory.control)
    directory.control.write_text("in the way")
    with pytest.raises(StageError, match="Not a directory"):
        LocalSweep(Board([task(1), task(2)], directory), directory, Silent(), (None, None)).carry_out()


def test_a_failure_is_tried_again_even_while_its_lease_seems_held(
    directory: SweepDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a machine that died: the lease is of nobody, which takes its time to be sure of."""
    pace = Pace(beat_s=0.01, silence_s=0.1)
    assert Leases(directory.control, pace).take(task(1).key) is not None
    directory.note_end(task(1), PointEnd(reason="the job is gone", exit_code=1))

    def run(argv: list[str], *, log: Path, **_: object) -> Finished:
        leave(directory, task(1))
        return Finished(tuple(argv), 0, None, False, False, 0.1, log, False)

    monkeypatch.setattr("llm_perf_opt.sweep.work.run", run)
    monkeypatch.setattr("llm_perf_opt.sweep.board.BUSY_S", 0.05)
    board = Board([task(1)], directory, retry=True)
    LocalSweep(board, directory, Silent(), (None,), pace, lambda *_: ["a command"]).carry_out()
    assert board.state(task(1)).status == "completed"
    assert not directory.end_path(task(1)).exists()


@pytest.mark.parametrize(
    ("jobs", "each", "visible", "found", "devices"),
    [
        (2, None, None, 0, [None, None]),
        (2, 2, None, 4, ["0,1", "2,3"]),
        (2, 1, "3,GPU-ab,5", 8, ["3", "GPU-ab"]),
        (1, 0, "", 8, [""]),
        (2, 2, None, 3, None),
        (2, 1, "7", 8, None),
    ],
)
def test_devices_are_divided(
    jobs: int, each: int | None, visible: str | None, found: int, devices: list[str | None] | None
) -> None:
    if devices is None:
        with pytest.raises(ConfigError, match=r"and .* has [13]"):
            devices_of(jobs, each, visible, found)
    else:
        assert devices_of(jobs, each, visible, found) == devices


def test_what_failed_is_tried_again_where_that_is_asked_for(directory: SweepDirectory) -> None:
    leave(directory, task(1), status="failed", reason=OOM)
    assert Board([task(1), task(2)], directory).tally().left == 0
    board = Board([task(1), task(2)], directory, retry=True)
    assert board.tally().left == 2
    assert board.next() == task(1)
    board.settle(task(1), directory.state(task(1)))
    assert (board.tally().failed, board.tally().skipped) == (1, 1), "it is tried once"
    shutil.rmtree(directory.run_path(task(1)))
