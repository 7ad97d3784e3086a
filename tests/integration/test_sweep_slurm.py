"""Sweeps on Slurm: submitit itself, against strict stand-ins of Slurm's commands."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from llm_perf_opt.errors import StageError
from llm_perf_opt.sweep.board import Board, Tally
from llm_perf_opt.sweep.directory import State, SweepDirectory
from llm_perf_opt.sweep.points import Task
from tests.conftest import REPOSITORY
from tests.integration.test_sweep_kills import journal
from tests.standins import slurm as standin
from tests.standins.sweeper import PACE, PointCommand, journal_of, points

submitit = pytest.importorskip("submitit", reason="the extra `slurm` is not installed")

from llm_perf_opt.sweep.slurm import Polling, SlurmOptions, SlurmSweep  # noqa: E402

pytestmark = pytest.mark.integration
POLLING = Polling(look_s=0.1, ask_s=0.3, grace_s=1.0, vanished_s=6.0)


class Heard:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def begins(self, task: Task, tally: Tally) -> None:
        return None

    def ends(self, task: Task, state: State, tally: Tally) -> None:
        self.notes.append(f"{task.key}: {state.status}")

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cluster; whatever it still runs is ended with the test."""
    commands = standin.install(tmp_path)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv(standin.HOME, str(tmp_path / "slurm-home"))
    monkeypatch.chdir(REPOSITORY)
    yield tmp_path / "slurm-home"
    standin.end_all()


def sweep(folder: Path, count: int, seconds: float, heard: Heard, **options: object) -> SlurmSweep:
    directory = SweepDirectory(folder)
    asked = points(count)
    directory.open(asked, launches=1, argv=["llmperf", "sweep"])
    board = Board([Task(point, 1) for point in asked], directory)
    command = PointCommand(journal_of(folder), str(seconds))
    chosen = SlurmOptions(**{"partition": "gpu", "gpus": 1, **options})  # type: ignore[arg-type]
    return SlurmSweep(board, directory, heard, chosen, POLLING, PACE, command)


def when(holds: Callable[[], bool], do: Callable[[], None]) -> threading.Thread:
    """Do something once it holds, beside the test."""

    def wait() -> None:
        deadline = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        do()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def state_of(element: int) -> tuple[str, str]:
    with standin.database() as connection:
        row = connection.execute("SELECT id, state FROM jobs WHERE element = ? ORDER BY number", (element,)).fetchone()
    return row or ("", "")


def started(folder: Path, name: str) -> Callable[[], bool]:
    return lambda: journal_of(folder).exists() and f"start {name}\n" in journal_of(folder).read_text()


def test_late_answers_pre_emption_and_a_vanished_job(home: Path, tmp_path: Path) -> None:
    folder, heard = tmp_path / "sweep", Heard()
    (home / "settings.json").write_text(json.dumps({"silent_s": 2.0, "nodes": 2}))
    running = sweep(folder, 3, 1.5, heard)

    def pre_empt() -> None:  # as Slurm does with send_user_signal: a warning to every process of the steps
        subprocess.run(["scancel", state_of(0)[0], "--signal", "USR2"], check=True)

    def vanish() -> None:
        job, _ = state_of(1)
        with standin.database() as connection:
            connection.execute("DELETE FROM jobs WHERE id = ?", (job,))
        standin.kill_all(job, signal.SIGKILL)

    beside = [when(started(folder, "p000"), pre_empt), when(started(folder, "p001"), vanish)]
    running.carry_out()
    for thread in beside:
        thread.join()
    found = journal(folder)
    assert found["end"].total() == 3
    assert set(found["end"].values()) == {1}
    assert not found["clash"]
    assert found["start"]["p000"] == found["start"]["p001"] == 2
    assert {state.status for _, state in running.board.states()} == {"completed"}
    with standin.database() as connection:
        starts = dict(connection.execute("SELECT id, starts FROM jobs"))
    assert starts[state_of(0)[0]] == 2, "the job that was pre-empted was put into the queue again"
    assert any("submitted again" in note for note in heard.notes)
    before = journal(folder)
    again = sweep(folder, 3, 1.5, heard)
    again.carry_out()
    assert journal(folder) == before


def test_what_slurm_refuses_is_said(home: Path, tmp_path: Path) -> None:
    running = sweep(tmp_path / "sweep", 2, 0.1, Heard(), partition="none")
    with pytest.raises(StageError, match="invalid partition specified: none"):
        running.carry_out()


def test_a_job_that_a_person_cancels_is_a_failure_of_its_point(home: Path, tmp_path: Path) -> None:
    folder, heard = tmp_path / "sweep", Heard()
    running = sweep(folder, 1, 30.0, heard)
    job = folder / "control" / "p000.job"
    beside = when(started(folder, "p000"), lambda: standin.scancel([job.read_text().strip()]))
    running.carry_out()
    beside.join()
    ((_, state),) = running.board.states()
    assert state.status == "failed"
    assert "CANCELLED by 1000" in (state.reason or "")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sbatch", ["--no-such-option", "x"]),
        ("srun", ["--parsable2", "true"]),
        ("sacct", ["--array-of"]),
        ("scancel", ["--unknown", "1"]),
        ("scontrol", ["resume", "1"]),
    ],
)
def test_the_stand_ins_take_what_the_manuals_have_and_no_more(
    name: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        getattr(standin, name)(words)
    assert capsys.readouterr().err.startswith(f"{name}: ")
