"""Cost of static analysis: `uv run python tests/benchmarks/bench_static.py`.

Prints one row per measurement with what it should stay under: CPU seconds of whole processes, started as a user
starts them, and peak resident memory. The tracing rows leave their imports out.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DEEPSEEK_V3 = {"model_type": "deepseek_v3", "torch_dtype": "bfloat16"}
HYBRIDS: list[dict[str, str]] = [
    {"model_type": "zamba2"},
    {"model_type": "nemotron_h", "hybrid_override_pattern": "M-M-M-M*-" + 3 * "M-M-M-M-M*-" + "M-M-M-M-M-"},
    {"model_type": "qwen3_next"},
]
"""Of 54, 52 and 48 layers."""
REPEATS = 3


def cpu_and_memory(argv: list[str]) -> tuple[float, float]:
    """CPU seconds and peak MB of one process."""
    pid = os.posix_spawn(
        argv[0],
        argv,
        {**os.environ, "OMP_NUM_THREADS": "1"},
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_OPEN, 2, os.devnull, 1, 0)],
    )
    _, status, usage = os.wait4(pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"{' '.join(argv)} failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024 * 1024)


def trace_here(config: dict[str, str]) -> None:
    """Print the CPU seconds of tracing a model as the tracing child does, imports and first calls done."""
    from llm_perf_opt.analysis.traced.trace import trace_description

    gc.disable()
    tiny = {"model_type": "deepseek_v3", "num_hidden_layers": 4, "hidden_size": 64, "num_attention_heads": 4}
    trace_description(tiny, (), "tiny")
    start = time.process_time()
    trace_description(config, (), config["model_type"])
    print(time.process_time() - start)


def trace_seconds(config: dict[str, str]) -> float:
    """What `trace_here` prints in a process of its own."""
    child = subprocess.run([sys.executable, __file__, json.dumps(config)], capture_output=True, text=True, check=True)
    return float(child.stdout.strip().splitlines()[-1])


def main() -> None:
    """Measure and print the table."""
    llmperf = str(Path(sys.executable).parent / "llmperf")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.json"
        config.write_text(json.dumps(DEEPSEEK_V3))
        once = [llmperf, "static", str(config), "--gpu", "h200-sxm"]
        axes = ["--sweep", "batch=1,2,4,…,512", "--sweep", "context=1k,2k,3k,…,100k"]
        many = [*once, *axes, "--output", folder]
        single = [cpu_and_memory(once) for _ in range(REPEATS)]
        swept = [cpu_and_memory(many) for _ in range(REPEATS)]
        points = len((Path(folder) / "static_sweep.csv").read_text().splitlines()) - 1
    traced = min(trace_seconds(DEEPSEEK_V3) for _ in range(REPEATS))
    hybrids = {config["model_type"]: min(trace_seconds(config) for _ in range(REPEATS)) for config in HYBRIDS}
    rows = [
        ("`llmperf static` on DeepSeek-V3, CPU s", min(cpu for cpu, _ in single), 0.6),
        ("the same, peak MB", max(memory for _, memory in single), 80),
        (f"sweep of {points:,} points, CPU s", min(cpu for cpu, _ in swept), 2.0),
        ("tracing DeepSeek-V3's 61 layers beyond the imports, CPU s", traced, 0.2),
        *((f"tracing {name}, CPU s", cpu, 0.5) for name, cpu in hybrids.items()),
    ]
    print("| what | measured | reach |")
    print("| --- | ---: | ---: |")
    for what, measured, reach in rows:
        print(f"| {what} | {measured:.2f} | {reach:g} |")
    print(f"\n{REPEATS} runs each, the best (memory: the worst); {time.strftime('%Y-%m-%d')}")


if __name__ == "__main__":
    trace_here(json.loads(sys.argv[1])) if sys.argv[1:] else main()
