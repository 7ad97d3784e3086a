"""The benchmark behind measured peaks: rates are amounts over times, and the cache decides whether it runs at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from llm_perf_opt.records.peaks import MeasuredPeaks
from llm_perf_opt.workload import benchmark
from llm_perf_opt.workload.benchmark import Bench, best_product, measure_peaks, peaks_for
from llm_perf_opt.workload.clock import HostClock
from tests.unit.hardware.test_peaks import peaks, rate

CPU = torch.device("cpu")


class Ticking(HostClock):
    """A clock that goes on by so many nanoseconds between two marks, and a millisecond at every look."""

    def __init__(self, *steps_ns: int) -> None:
        super().__init__()
        self._steps = iter(steps_ns)
        self._marked = self._now = 0
        self._open = False

    def now(self) -> float:
        self._now += 1_000_000
        return self._now / 1e9

    def mark(self) -> int:
        if self._open:
            self._marked += next(self._steps)
        self._open = not self._open
        return self._marked


def test_the_fastest_run_counts() -> None:
    runs: list[int] = []
    bench = Bench(lambda: runs.append(1), amount=1000, what="")
    assert bench.measure(Ticking(500, 200, 400), seconds=0.0025) == pytest.approx(1000 / 200e-9)
    assert len(runs) == 3


def test_a_bench_is_run_once_however_short_the_time() -> None:
    assert Bench(lambda: None, 1000, "").measure(Ticking(500), seconds=0.0) == pytest.approx(1000 / 500e-9)


def test_a_buffer_is_made_anew_for_each_round() -> None:
    made: list[int] = []

    def anew() -> Callable[[], None]:
        made.append(len(made))
        return lambda: None

    bench = Bench(lambda: None, 1000, "", anew)
    for _ in range(3):
        bench.round(Ticking(500), seconds=0.0)
    assert made == [0, 1, 2]
    assert bench.rounds == [pytest.approx(1000 / 500e-9)] * 3


def test_products_grow_until_one_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def product(device: torch.device, dtype: torch.dtype, size: int) -> Bench:
        made.append(size)
        return Bench(lambda: None, 2 * size**3, f"{size}")

    monkeypatch.setattr(benchmark, "_product", product)
    best = best_product(CPU, torch.float32, Ticking(1_000_000, 2_000_000, 5_000_000))
    assert made == [256, 512, 1024]
    assert best.what == "1024"


def test_everything_is_measured_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "SIZES", {"cpu": (16, 32)})
    monkeypatch.setattr(benchmark, "LEAST_BUFFER_BYTES", {"cpu": 1 << 16})
    monkeypatch.setattr(benchmark, "last_level_cache_bytes", lambda: 1 << 14)
    state = torch.random.get_rng_state()
    found = measure_peaks(CPU, "A CPU", seconds=0.0)
    assert set(found.flops_per_s) | set(found.missing) == {"float32", "bfloat16", "float16"}
    assert all(len(item.rounds) == benchmark.ROUNDS and item.per_s > 0 for item in found.flops_per_s.values())
    assert found.read_bytes_per_s is not None and found.read_bytes_per_s.what == "torch.dot over 0 MiB"
    assert (found.device, found.name, found.threads) == ("cpu", "A CPU", torch.get_num_threads())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_buffer_that_the_caches_would_hold_measures_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "SIZES", {"cpu": (16,)})
    monkeypatch.setattr(benchmark, "memory_total_bytes", lambda: 1 << 30)
    monkeypatch.setattr(benchmark, "last_level_cache_bytes", lambda: None)
    found = measure_peaks(CPU, "A CPU", seconds=0.0)
    assert found.read_bytes_per_s is None
    assert "more than this memory has room for" in found.missing["read_bytes_per_s"]
    assert "does not tell" in found.missing["last_level_cache_bytes"]


@pytest.mark.parametrize(("steady", "measured"), [(True, 1), (False, 3)])
def test_it_is_measured_once_or_three_times_where_it_is_not_quiet(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, steady: bool, measured: int
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    calls: list[str] = []

    def measure(device: torch.device, name: str) -> MeasuredPeaks:
        calls.append(name)
        rounds = (100.0, 99.0, 98.0) if steady else (100.0 * len(calls), 10.0, 10.0)
        return peaks(flops_per_s={"float32": rate(*rounds)})

    monkeypatch.setattr(benchmark, "measure_peaks", measure)
    found = [peaks_for(CPU, "A CPU") for _ in range(5)]
    assert len(calls) == measured
    assert found[-1].attempts == measured and found[-1].quiet is steady
    assert found[-1].flops_per_s["float32"].per_s == 100.0 * measured
