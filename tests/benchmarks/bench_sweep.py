"""What a sweep costs beside its runs.

1. Planning, listing and reporting 1,000 finished points, CPU seconds of each (limit: 10 together).
2. What a sweep adds to each of its runs, against the same commands one after the other. The runs are stand-ins of half
   a second: look at the milliseconds, of which a run of 5 s may have 250 (limit: 1.05).

    python -m tests.benchmarks.bench_sweep
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llm_perf_opt.reports.sweep import write_sweep
from llm_perf_opt.sweep.axes import choose, read_arguments
from llm_perf_opt.sweep.board import Board
from llm_perf_opt.sweep.directory import SweepDirectory
from llm_perf_opt.sweep.local import LocalSweep
from llm_perf_opt.sweep.points import Task, plan_points, tasks_of
from llm_perf_opt.sweep.results import read_results
from tests.records import batch, repeat, workload
from tests.standins.sweeper import PointCommand, Silent, journal_of, points
from tests.unit.sweep.leaving import leave, leave_figures

SIZES = ",".join(str(size) for size in range(1, 251))
RUN_S = 0.5
RUNS = 20


@contextmanager
def cpu(what: str, spent: list[float]) -> Iterator[None]:
    before = time.process_time()
    yield
    spent.append(time.process_time() - before)
    print(f"{what:<42} {spent[-1]:6.2f} CPU s")


def finished_points(folder: Path) -> None:
    directory = SweepDirectory(folder)
    spent: list[float] = []
    _, axes = read_arguments([f"infer.batch_size={SIZES}", "infer.execution=eager,compile", "infer.seed=1,2"])
    with cpu("planning 1,000 points", spent):
        found = plan_points(choose([], axes))
        tasks = tasks_of(found, 1)
    directory.open([point.record for point in found], launches=1, argv=[])
    runs = [repeat(e2e_ms=70.0 + at) for at in range(10)]
    for task in tasks:
        leave_figures(leave(directory, task), workload(batch(*runs), stage="direct_inference", timings_only=True))
    with cpu("listing 1,000 finished points", spent):
        assert Board(tasks, directory).tally().completed == 1000
    with cpu("reading and reporting 1,000 finished points", spent):
        write_sweep(read_results(directory), folder)
    print(f"{'all':<42} {sum(spent):6.2f} CPU s (limit 10)")


def overhead(folder: Path) -> None:
    directory = SweepDirectory(folder)
    asked = points(RUNS)
    directory.open(asked, launches=1, argv=[])
    command = PointCommand(journal_of(folder), str(RUN_S))
    tasks = [Task(point, 1) for point in asked]
    alone, before = SweepDirectory(folder.with_name("alone")), time.monotonic()
    for task in tasks:
        subprocess.run(command(alone, task, False), check=True)
    alone_s = time.monotonic() - before
    before, cpu_before = time.monotonic(), time.process_time()
    LocalSweep(Board(tasks, directory), directory, Silent(), command=command).carry_out()
    added_ms = (time.monotonic() - before - alone_s) / RUNS * 1e3
    own_ms = (time.process_time() - cpu_before) / RUNS * 1e3
    print(
        f"a sweep adds {added_ms:.0f} ms to each of {RUNS} runs: {1 + added_ms / 5e3:.4f} × a run of 5 s (limit 1.05)"
    )
    print(f"CPU of the sweeper itself: {own_ms:.1f} ms a run")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        finished_points(Path(place) / "finished")
        overhead(Path(place) / "overhead")
