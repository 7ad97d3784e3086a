"""CPU time of `llmperf compare` on 1,000 repeats × 10 launches a side, and what an A/B takes beside its launches.

uv run python -m tests.benchmarks.bench_compare
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

from llm_perf_opt.records.launches import Launches
from llm_perf_opt.records.workload import Workload
from tests.cli_process import LLMPERF, environment
from tests.launching import write_run
from tests.records import batch, repeat, workload

REPEATS, LAUNCHES, STEPS = 1000, 10, 16
CHILD = f"{sys.executable} {Path(__file__).parents[1] / 'standins' / 'fixed_work.py'}"


def launch(rng: random.Random) -> Workload:
    times = [
        repeat(ttft_ms=50 * rng.uniform(1, 1.1), e2e_ms=70 * rng.uniform(1, 1.1), step_ms=(1.0,) * STEPS)
        for _ in range(REPEATS)
    ]
    return workload(batch(*times))


def cpu_s(arguments: list[str], folder: Path) -> tuple[float, float]:
    """CPU and wall seconds of a command and its children."""
    before, begun = os.times(), time.monotonic()
    subprocess.run([LLMPERF, *arguments], cwd=folder, env=environment(), capture_output=True, check=True)
    after, ended = os.times(), time.monotonic()
    used = after.children_user - before.children_user + after.children_system - before.children_system
    return used, ended - begun


def launches_s(run: Path) -> float:
    """From start to end of each launch of a side, added up."""
    entries = Launches.read(run / "direct_inference" / "launches.json").launches
    spans = [datetime.fromisoformat(entry.ended) - datetime.fromisoformat(entry.place.started) for entry in entries]
    return sum(span.total_seconds() for span in spans)


def main() -> None:
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for side in ("a", "b"):
            write_run(folder / side, *[launch(rng) for _ in range(LAUNCHES)], block="one")
        compared = sorted(cpu_s(["compare", "a", "b", "--json"], folder)[0] for _ in range(5))
        print(f"compare, {REPEATS:,} repeats x {LAUNCHES} launches a side: {compared[2]:.2f} CPU s (limit 1)")
        options = ["--prefix-a", f"{CHILD} 500", "--prefix-b", f"{CHILD} 1000", "--output", "ab", "--json"]
        _, wall_s = cpu_s(["ab", *options], folder)
        inside = sum(launches_s(folder / "ab" / side) for side in ("a", "b"))
        beside = wall_s - inside
        print(f"ab, 5 launches a side: {beside:.2f} s beside its launches, 3 % of {beside / 0.03:.0f} s of launches")


if __name__ == "__main__":
    main()
