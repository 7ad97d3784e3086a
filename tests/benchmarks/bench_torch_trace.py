"""Reading a recorded trace of 600,000 events into tables: CPU seconds and peak memory, against `json.load` alone.

uv run python -m tests.benchmarks.bench_torch_trace
"""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

EVENTS = 600_000
LIMIT_MEMORY = 0.25
"""Of the peak of `json.load`."""


def events() -> Iterator[dict[str, Any]]:
    """An operator, its launch, its kernel and the arrow between them, again and again."""
    for number in range(1, EVENTS // 4 + 1):
        start = 1_428_625_746_277 + 10 * number + 0.125
        ids = {"External id": number, "correlation": number}
        shapes = {"Input Dims": [[151936, 1024], [16, 559], [], []], "Input type": ["c10::BFloat16", "long int"]}
        host = {"ph": "X", "pid": 1, "tid": 1}
        yield {**host, "cat": "cpu_op", "name": "aten::mm", "ts": start, "dur": 8.8, "args": {**shapes, **ids}}
        yield {**host, "cat": "cuda_runtime", "name": "cudaLaunchKernel", "ts": start + 1, "dur": 3.8, "args": ids}
        device = {"ph": "X", "pid": 0, "tid": 7, "cat": "kernel", "name": f"gemm<{number % 7}>"}
        yield {**device, "ts": start + 5, "dur": 4.5, "args": {**ids, "grid": [1, 2, 3], "block": [128, 1, 1]}}
        yield {"ph": "s", "id": number, "pid": 1, "tid": 1, "ts": start, "cat": "ac2g", "name": "ac2g"}


def child(way: str, path: Path) -> None:
    """Read the trace one way; prints CPU seconds and peak KiB."""
    start = time.process_time()
    if way == "ours":
        from llm_perf_opt.analysis.events import fold
        from llm_perf_opt.formats.torch_trace import read_trace

        trace = read_trace(path)
        tables = fold(trace.host, trace.device)
        assert sum(row.calls for row in tables.kernels.values()) == EVENTS // 4
    else:
        with gzip.open(path) as file:
            json.load(file)
    print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def measured(way: str, path: Path) -> tuple[float, float]:
    command = [sys.executable, "-m", "tests.benchmarks.bench_torch_trace", way, str(path)]
    seconds, kib = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(seconds), float(kib) / 1024


def main() -> None:
    if len(sys.argv) == 3:
        child(sys.argv[1], Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json.gz"
        with gzip.open(path, "wt", compresslevel=1) as file:
            file.write('{"traceEvents": [')
            file.writelines(("," if number else "") + json.dumps(event) for number, event in enumerate(events()))
            file.write("]}")
        ours_s, ours_mib = measured("ours", path)
        theirs_s, theirs_mib = measured("json", path)
    print(f"{EVENTS:,} events into tables: {ours_s:.1f} CPU s; json.load alone {theirs_s:.1f} CPU s")
    print(
        f"peak memory {ours_mib:.0f} MiB against {theirs_mib:.0f} MiB: ratio {ours_mib / theirs_mib:.2f}, "
        f"limit {LIMIT_MEMORY}"
    )


if __name__ == "__main__":
    main()
