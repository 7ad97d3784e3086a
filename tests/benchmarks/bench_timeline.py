"""Importing captures of a million kernels, a long trace, and traces of many ranks: CPU seconds of all processes, and
the peak memory of the largest of them.

uv run python -m tests.benchmarks.bench_timeline [WORDS OF A CASE]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.generators import nsys_export, torch_ranks, torch_trace

MAIN = "from llm_perf_opt.cli.main import main; main()"


@dataclass(frozen=True)
class Case:
    """One command on one generated file."""

    what: str
    make: Callable[[Path], None]
    command: tuple[str, ...]
    limit_cpu_s: float
    limit_mib: float


CASES = (
    Case("kernels top, 1 M kernels", lambda path: nsys_export(path, 1_000_000), ("kernels", "top"), 1.2, 500),
    Case("import, 1 M kernels and launches", lambda path: nsys_export(path, 1_000_000), ("-q", "import"), 4, 500),
    Case(
        "import, 1 M kernels, 1.7 M calls, 4 M nested ranges",
        lambda path: nsys_export(path, 1_000_000, 1.7, 4),
        ("-q", "import"),
        10,
        800,
    ),
    # Takes minutes to generate.
    Case("import, 10 M kernels and launches", lambda path: nsys_export(path, 10_000_000), ("-q", "import"), 40, 2048),
    Case("import, trace of 489,000 events", lambda path: torch_trace(path, 489_000), ("-q", "import"), 2.5, 600),
    Case("import, 64 ranks of 54 MB", lambda path: torch_ranks(path, 64, 206_000), ("-q", "import"), 100, 300),
)


def measured(command: tuple[str, ...], path: Path, folder: Path) -> tuple[float, float]:
    """CPU seconds and MiB at most, of a process of its own that waits for nothing else."""
    output = ("--output", str(folder / "run")) if "import" in command else ()
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss)"
    )
    argv = [sys.executable, "-c", code, sys.executable, "-c", MAIN, *command, str(path), *output]
    seconds, kib = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    return float(seconds), float(kib) / 1024


def main() -> None:
    wanted = " ".join(sys.argv[1:])
    for case in CASES:
        if wanted not in case.what:
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "capture"
            case.make(path)
            seconds, mib = measured(case.command, path, Path(folder))
            print(
                f"{case.what}: {seconds:.1f} CPU s of {case.limit_cpu_s}, {mib:.0f} MiB of {case.limit_mib} "
                f"({sum(file.stat().st_size for file in (path, *path.glob('*'))) >> 20} MiB)",
                flush=True,
            )


if __name__ == "__main__":
    main()
