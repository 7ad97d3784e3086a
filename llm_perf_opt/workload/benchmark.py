"""What the device reaches before the model is loaded: matrix products of each type, and reading memory.

Rounds of all benchmarks take turns, so that their differences show whether the machine was quiet meanwhile.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from llm_perf_opt.hardware.caches import NOT_TOLD, last_level_cache_bytes
from llm_perf_opt.hardware.host import memory_total_bytes
from llm_perf_opt.hardware.measured import cache_file, keep, read_kept
from llm_perf_opt.records.peaks import MeasuredPeaks, MeasuredRate
from llm_perf_opt.workload.clock import Clock, clock_for

TYPES = (torch.float32, torch.bfloat16, torch.float16)
ROUNDS = 3
ROUND_S = 0.08
"""Of one benchmark, or one run of it where that takes longer."""
MOST_ATTEMPTS = 3
LONG_ENOUGH_MS = 4.0
"""A product that takes so long is not made larger."""
SIZES = {"cpu": (256, 512, 1024, 2048, 4096), "cuda": (2048, 4096, 8192)}
LEAST_BUFFER_BYTES = {"cpu": 256 << 20, "cuda": 1 << 30}
CACHES_READ = 4
"""The buffer is so many times the last-level cache, so that little of it is still there in the next pass."""
MOST_BUFFER_BYTES = 2 << 30
SHARE_OF_MEMORY = 8
"""The buffer takes at most one of so many parts of the memory."""


@dataclass
class Bench:
    """One thing that is run again and again."""

    run: Callable[[], Any]
    amount: int
    """FLOPs, or bytes, of one run."""
    what: str
    made_anew: Callable[[], Callable[[], Any]] | None = None
    """Makes what `run` works on anew for each round: where a buffer lies in memory decides how fast it is read."""
    rounds: list[float] = field(default_factory=list)

    def measure(self, clock: Clock[Any], seconds: float) -> float:
        """The best rate of the runs that fit in, per second; at least one."""
        best_ms, end = float("inf"), clock.now() + seconds
        while best_ms == float("inf") or clock.now() < end:
            start = clock.mark()
            self.run()
            done = clock.mark()
            clock.synchronize()
            best_ms = min(best_ms, clock.elapsed_ms(start, done))
        return self.amount / max(best_ms, 1e-6) * 1e3

    def round(self, clock: Clock[Any], seconds: float) -> None:
        """Measure once more, and keep it."""
        if self.made_anew is not None:
            self.run = lambda: None  # the former goes before the next one is there
            self.run = self.made_anew()
        self.rounds.append(self.measure(clock, seconds))

    def rate(self) -> MeasuredRate:
        return MeasuredRate(per_s=max(self.rounds), rounds=tuple(self.rounds), what=self.what)


def peaks_for(device: torch.device, name: str) -> MeasuredPeaks:
    """Those that were kept from an earlier child, else measured now and kept.

    What was measured on a machine that was not quiet is measured again, `MOST_ATTEMPTS` times in all.
    """
    file = cache_file(str(device), name, torch.get_num_threads(), torch.__version__)
    kept = read_kept(file)
    if kept is not None and (kept.quiet or kept.attempts >= MOST_ATTEMPTS):
        return kept
    measured = measure_peaks(device, name)
    return keep(measured if kept is None else kept.or_better(measured), file)


@torch.inference_mode()
def measure_peaks(device: torch.device, name: str, seconds: float = ROUND_S) -> MeasuredPeaks:
    """Measure them.

    Args:
        seconds: of each round of each benchmark.
    """
    began, clock = time.perf_counter(), clock_for(device)
    missing: dict[str, str] = {}
    products: dict[str, Bench] = {}
    for dtype in TYPES:
        kind = str(dtype).removeprefix("torch.")
        try:
            products[kind] = best_product(device, dtype, clock)
        except RuntimeError as error:  # torch's own, for a type that the device cannot multiply
            missing[kind] = f"a matrix product failed: {str(error).strip().splitlines()[0]}"
    cache = _last_level_cache(device)
    if cache is None:
        missing["last_level_cache_bytes"] = NOT_TOLD
    read = _reading(device, cache)
    if isinstance(read, str):
        missing["read_bytes_per_s"] = read
    benches = [*products.values(), *([read] if isinstance(read, Bench) else [])]
    for bench in benches:
        bench.run()
    for _ in range(ROUNDS):
        for bench in benches:
            bench.round(clock, seconds)
    if device.type == "cuda":
        products.clear()
        benches.clear()
        torch.cuda.empty_cache()
    return MeasuredPeaks(
        device=str(device),
        name=name,
        threads=torch.get_num_threads(),
        torch_version=torch.__version__,
        measured=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        took_s=time.perf_counter() - began,
        flops_per_s={kind: bench.rate() for kind, bench in products.items()},
        read_bytes_per_s=read.rate() if isinstance(read, Bench) else None,
        last_level_cache_bytes=cache,
        missing=missing,
    )


def best_product(device: torch.device, dtype: torch.dtype, clock: Clock[Any]) -> Bench:
    """The square product with the highest rate, of sizes that grow until one takes `LONG_ENOUGH_MS`."""
    found: list[tuple[float, Bench]] = []
    for size in SIZES[device.type]:
        bench = _product(device, dtype, size)
        bench.run()  # the first of a kind sets up more than itself
        rate = bench.measure(clock, 0.0)
        found.append((rate, bench))
        if bench.amount / rate * 1e3 >= LONG_ENOUGH_MS:
            break
    return max(found, key=lambda pair: pair[0])[1]


def _product(device: torch.device, dtype: torch.dtype, size: int) -> Bench:
    # Numbers as they come: a GPU multiplies zeros at a higher clock. Not of the global generator, which is the model's.
    dice = torch.Generator(device).manual_seed(0)
    one, two = (torch.randn(size, size, generator=dice, device=device).to(dtype) for _ in range(2))
    out = torch.empty(size, size, device=device, dtype=dtype)
    return Bench(lambda: torch.mm(one, two, out=out), 2 * size**3, f"torch.mm, {size} × {size} × {size}")


def _reading(device: torch.device, cache: int | None) -> Bench | str:
    """A sum over a buffer that no cache holds; or why there is none."""
    wanted = max(LEAST_BUFFER_BYTES[device.type], CACHES_READ * (cache or 0))
    memory = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else memory_total_bytes() or 0
    room = min(MOST_BUFFER_BYTES, memory // SHARE_OF_MEMORY)
    if min(wanted, room) < 2 * (cache or 0) or room < LEAST_BUFFER_BYTES[device.type]:
        return f"a buffer of {wanted >> 20:,} MiB, which the caches do not hold, is more than this memory has room for"
    numbers = min(wanted, room) // 8

    def made() -> Callable[[], Any]:
        one, two = (torch.ones(numbers, dtype=torch.float32, device=device) for _ in range(2))
        return lambda: torch.dot(one, two)

    return Bench(lambda: None, numbers * 8, f"torch.dot over {numbers * 8 >> 20:,} MiB", made)


def _last_level_cache(device: torch.device) -> int | None:
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).L2_cache_size) or None
    return last_level_cache_bytes()
