"""Measured peaks: how large caches are, what is kept between runs, what is said of a machine that is not quiet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from llm_perf_opt.hardware.caches import last_level_cache_bytes
from llm_perf_opt.hardware.measured import cache_file, cache_folder, keep, kept_here, read_kept
from llm_perf_opt.records.peaks import MeasuredPeaks, MeasuredRate


def rate(*rounds: float) -> MeasuredRate:
    return MeasuredRate(per_s=max(rounds), rounds=rounds, what="work")


def peaks(**changes: Any) -> MeasuredPeaks:
    """100 GFLOP/s in float32, 20 GB/s, 32 MiB of cache."""
    values: dict[str, Any] = {
        "device": "cpu", "name": "A CPU", "threads": 2, "torch_version": "2.x", "took_s": 1.0,
        "measured": "2026-01-02T03:04:05+00:00",
        "flops_per_s": {"float32": rate(100e9, 99e9, 98e9)},
        "read_bytes_per_s": rate(20e9, 20e9, 19.5e9), "last_level_cache_bytes": 32 << 20,
    }  # fmt: skip
    return MeasuredPeaks(**values | changes)


def cpu(root: Path, number: int, *caches: tuple[int, str, str, str]) -> None:
    """The caches of one CPU as /sys has them: (level, type, size, CPUs that share it)."""
    for index, (level, kind, size, shared) in enumerate(caches):
        folder = root / f"sys/devices/system/cpu/cpu{number}/cache/index{index}"
        folder.mkdir(parents=True)
        named = {"level": str(level), "type": kind, "size": size, "shared_cpu_list": shared}
        for name, text in named.items():
            (folder / name).write_text(f"{text}\n")


def test_the_last_level_is_counted_once_for_each_group_of_cpus(tmp_path: Path) -> None:
    for number in range(4):
        shared = "0-1" if number < 2 else "2-3"
        own = str(number)
        cpu(tmp_path, number, (1, "Data", "32K", own), (2, "Unified", "1024K", own), (3, "Unified", "32M", shared))
    assert last_level_cache_bytes(tmp_path, frozenset({0, 1})) == 32 << 20
    assert last_level_cache_bytes(tmp_path, frozenset({1, 2})) == 64 << 20


def test_an_instruction_cache_and_what_cannot_be_read_do_not_count(tmp_path: Path) -> None:
    cpu(tmp_path, 0, (1, "Instruction", "64K", "0"), (1, "Data", "48K", "0"), (2, "Unified", "many", "0"))
    assert last_level_cache_bytes(tmp_path, frozenset({0})) == 48 << 10
    assert last_level_cache_bytes(tmp_path / "nothing", frozenset({0})) is None


def no_home() -> Path:
    raise RuntimeError("could not determine the home directory")


def test_the_cache_is_where_the_specification_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder({"XDG_CACHE_HOME": "/caches"}) == Path("/caches/llmperf")
    assert cache_folder({}) == cache_folder({"XDG_CACHE_HOME": "not/absolute"}) == tmp_path / ".cache" / "llmperf"
    monkeypatch.setattr(Path, "home", no_home)
    homeless = cache_folder({})
    assert keep(peaks(), homeless / "peaks.json") == peaks() and kept_here(homeless) == []


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    files = [cache_file("cpu", "A CPU", threads, "2.x", tmp_path / "llmperf") for threads in (1, 2)]
    older = keep(peaks(threads=1, measured="2025-01-01T00:00:00+00:00"), files[0])
    newer = keep(peaks(), files[1])
    assert newer.cache == str(files[1]) and read_kept(files[1]) == newer
    assert kept_here(tmp_path / "llmperf") == [newer]
    assert read_kept(files[0]) == older
    assert sorted(path.name for path in (tmp_path / "llmperf").iterdir()) == sorted(file.name for file in files)


def test_a_cache_that_cannot_be_used_costs_nothing_but_the_cache(tmp_path: Path) -> None:
    (tmp_path / "llmperf").write_text("a file where a folder should be")
    file = cache_file("cpu", "A CPU", 1, "2.x", tmp_path / "llmperf")
    assert keep(peaks(), file) == peaks()
    assert read_kept(file) is None and kept_here(tmp_path / "llmperf") == []
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    assert read_kept(broken) is None


def test_rounds_that_differ_are_said() -> None:
    assert peaks().quiet
    assert peaks().label("float32") == "the measured peak of A CPU (cpu, 2 threads, float32, 2026-01-02)"
    loud = peaks(read_bytes_per_s=rate(20e9, 15e9, 20e9))
    assert not loud.quiet
    assert loud.label("float32").endswith("on a machine that was not quiet: rounds of reading memory differ by 25 %")


def test_of_several_attempts_the_best_rounds_count() -> None:
    first = peaks(flops_per_s={"float32": rate(100e9, 60e9, 99e9)}, read_bytes_per_s=None)
    both = first.or_better(peaks(flops_per_s={"float32": rate(98e9, 50e9, 40e9)}))
    assert both.flops_per_s["float32"].rounds == (100e9, 99e9, 98e9)
    assert both.flops_per_s["float32"].per_s == 100e9
    assert both.attempts == 2 and both.quiet
    assert both.read_bytes_per_s == peaks().read_bytes_per_s
