"""A real sweeper over points that run no model: `python -m tests.standins.sweeper FOLDER POINTS SECONDS JOBS`.

Leases, files and processes are those of `llmperf sweep`; the command of a point is `sweep_point.py`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from llm_perf_opt.records.sweep import SweepPoint
from llm_perf_opt.sweep.board import Board, Tally
from llm_perf_opt.sweep.directory import State, SweepDirectory
from llm_perf_opt.sweep.leases import Pace
from llm_perf_opt.sweep.local import LocalSweep
from llm_perf_opt.sweep.points import Task

PACE = Pace(beat_s=0.2, silence_s=2.0)
POINT = Path(__file__).with_name("sweep_point.py")


class Silent:
    """Tells nobody."""

    def begins(self, task: Task, tally: Tally) -> None:
        return None

    def ends(self, task: Task, state: State, tally: Tally) -> None:
        return None

    def note(self, message: str) -> None:
        return None


@dataclass(frozen=True)
class PointCommand:
    """Runs `sweep_point.py`; it can be pickled, as jobs are."""

    journal: Path
    seconds: str

    def __call__(self, where: SweepDirectory, task: Task, _begun: bool) -> list[str]:
        return [sys.executable, "-I", "-S", str(POINT), str(where.run_path(task)), str(self.journal), self.seconds]


def journal_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.journal")


def points(count: int) -> list[SweepPoint]:
    return [SweepPoint(id=f"p{at:03}", settings={"at": at}, group=f"g{at}", batch=1) for at in range(count)]


def main(folder: Path, count: int, seconds: str, jobs: int) -> None:
    directory = SweepDirectory(folder)
    asked = points(count)
    directory.open(asked, launches=1, argv=["llmperf", "sweep"])
    command = PointCommand(journal_of(folder), seconds)
    board = Board([Task(point, 1) for point in asked], directory, workers=jobs)
    LocalSweep(board, directory, Silent(), (None,) * jobs, PACE, command).carry_out()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
