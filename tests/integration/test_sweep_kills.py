"""A sweeper that is killed at random: nothing is lost, nothing is done twice."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from llm_perf_opt.sweep.directory import SweepDirectory
from llm_perf_opt.sweep.leases import Leases
from llm_perf_opt.sweep.points import Task
from tests.conftest import REPOSITORY
from tests.standins.sweeper import journal_of, points

pytestmark = pytest.mark.integration


def sweeper(folder: Path, count: int, seconds: float, jobs: int) -> subprocess.Popen[bytes]:
    words = ["-m", "tests.standins.sweeper", str(folder), str(count), str(seconds), str(jobs)]
    return subprocess.Popen([sys.executable, *words], cwd=REPOSITORY, start_new_session=True)


def swept(folder: Path, count: int, seconds: float, *, jobs: int = 1) -> None:
    assert sweeper(folder, count, seconds, jobs).wait(timeout=280) == 0


def journal(folder: Path) -> dict[str, Counter[str]]:
    """What the points say happened: kind → point → how often."""
    found: dict[str, Counter[str]] = {"start": Counter(), "end": Counter(), "clash": Counter()}
    for line in journal_of(folder).read_text().splitlines():
        kind, point = line.split()
        found[kind][point] += 1
    return found


def killed_at_random(
    folder: Path, *, count: int, seconds: float, kills: int, gap_s: tuple[float, float], beside: int = 0, seed: int
) -> int:
    """Sweep, kill -9 `kills` times, sweep to the end; how many kills met a sweeper that was at work.

    Args:
        beside: sweepers of the same directory that are not killed.
    """
    chance = random.Random(seed)
    others = [sweeper(folder, count, seconds, 1) for _ in range(beside)]
    hit = 0
    for _ in range(kills):
        process = sweeper(folder, count, seconds, 1)
        time.sleep(chance.uniform(*gap_s))
        hit += process.poll() is None
        process.kill()
        process.wait()
    swept(folder, count, seconds)
    for other in others:
        assert other.wait(timeout=280) == 0
    return hit


def check(folder: Path, count: int, kills: int) -> None:
    found = journal(folder)
    names = [point.id for point in points(count)]
    assert found["end"] == Counter(names), "every point finished, once"
    assert not found["clash"], "no two were at the same point at the same time"
    assert found["start"].total() <= count + kills
    directory = SweepDirectory(folder)
    assert {directory.state(Task(point, 1)).status for point in points(count)} == {"completed"}


def test_a_sweep_survives_kills_and_a_second_sweeper(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    killed_at_random(folder, count=10, seconds=0.05, kills=2, gap_s=(0.5, 0.9), beside=1, seed=1)
    check(folder, 10, 2)
    before = journal(folder)
    swept(folder, 10, 0.05, jobs=2)
    assert journal(folder) == before, "a finished point is never run again"


def test_an_interrupted_sweep_gives_its_points_back_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    process = sweeper(folder, 4, 30.0, 2)
    deadline = time.monotonic() + 60
    while not journal_of(folder).exists() or journal(folder)["start"].total() < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) != 0
    leases = Leases(SweepDirectory(folder).control)
    assert [leases.take(name) is not None for name in ("p000", "p001")] == [True, True]
    assert journal(folder)["end"].total() == 0


@pytest.mark.campaign
@pytest.mark.parametrize("beside", [0, 1])
@pytest.mark.parametrize("seed", [1, 2])
def test_two_hundred_points_and_twenty_kills(tmp_path: Path, beside: int, seed: int) -> None:
    folder = tmp_path / "sweep"
    gap_s = (0.5, 1.5) if beside else (0.5, 4.0)
    hit = killed_at_random(folder, count=200, seconds=0.1, kills=20, gap_s=gap_s, beside=beside, seed=seed)
    check(folder, 200, 20)
    found = journal(folder)
    print(f"{hit} of 20 kills met a sweeper at work; {found['start'].total()} starts of 200 points")
    assert hit >= (20 if beside == 0 else 5)
