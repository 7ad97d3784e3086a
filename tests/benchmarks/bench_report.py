"""`llmperf report` of a run with 10,000 kernels and 1,000 samples: CPU seconds beyond the start, and bytes of the page.

uv run python -m tests.benchmarks.bench_report
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import tempfile
from pathlib import Path

from tests.cli_process import LLMPERF, environment
from tests.made_runs import write_made_run

KERNELS, SAMPLES, ROUNDS = 10_000, 1_000, 3
LIMIT_CPU_S, LIMIT_BYTES = 2.0, 500_000


def cpu_s(arguments: list[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([LLMPERF, *arguments], check=True, capture_output=True, env=environment())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        run = write_made_run(Path(name) / "run", kernels=KERNELS, samples=SAMPLES)
        start = statistics.median(cpu_s(["report", "--help"]) for _ in range(ROUNDS))
        whole = statistics.median(cpu_s(["report", str(run), "--output", f"{name}/out"]) for _ in range(ROUNDS))
        size = (Path(name) / "out" / "report.html").stat().st_size
    print(f"{KERNELS:,} kernels and {SAMPLES:,} samples: {whole - start:.2f} CPU s beyond the start of {start:.2f} s")
    print(f"{(whole - start) / LIMIT_CPU_S:.2f} of the limit of {LIMIT_CPU_S} s")
    print(f"the page has {size:,} bytes: {size / LIMIT_BYTES:.2f} of the limit")


if __name__ == "__main__":
    main()
