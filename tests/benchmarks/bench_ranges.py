"""Cost of one NVTX range with nothing listening, beside a fresh `nvtx.annotate`. Target: at most 0.3 µs.

uv run python tests/benchmarks/bench_ranges.py
"""

from __future__ import annotations

import sys
import timeit
from pathlib import Path

import nvtx

sys.path.insert(0, str(Path(__file__).parents[2]))

from llm_perf_opt.workload.ranges import Ranges

COUNT = 200_000


def main() -> None:
    entered = Ranges(("step",)).steps(1)[0]
    silent = Ranges(()).steps(1)[0]

    def ours() -> None:
        with entered:
            pass

    def off() -> None:
        with silent:
            pass

    def fresh() -> None:
        with nvtx.annotate("step[0]"):
            pass

    def nothing() -> None:
        pass

    def cost_us(function: object) -> float:
        return min(timeit.repeat(function, number=COUNT, repeat=5)) / COUNT * 1e6  # type: ignore[arg-type]

    base = cost_us(nothing)
    for name, function in (("range", ours), ("range not asked for", off), ("fresh nvtx.annotate", fresh)):
        print(f"{name:22} {cost_us(function) - base:.3f} µs")


if __name__ == "__main__":
    main()
