"""Cost of `llmperf trend` and `llmperf runs`, and how often a step is claimed where there is none:
`uv run python -m tests.benchmarks.bench_trend`.

CPU seconds of whole processes over runs that are made by hand, each with figures and a configuration of its own; they
should stay under 5 for the trend of 1,000. The simulation is judged by the code that judges runs.
"""

from __future__ import annotations

import json
import math
import random
import shutil
import sys
import tempfile
from pathlib import Path

from llm_perf_opt.analysis.steps import find_steps
from tests.benchmarks.bench_static import cpu_and_memory
from tests.history import past_run

RUNS = 1_000
TRIALS = 4_000
ROWS = ((10, 0.0), (30, 0.0), (100, 0.0), (30, 0.02), (30, 0.05), (100, 0.05))
"""Runs of a series, and the step in its middle."""
SD = 0.02
"""From run to run."""


def made(folder: Path) -> None:
    """Runs six hours apart; the last two fifths take 3 % longer."""
    first = past_run(folder / "00000", 0)
    metrics = json.loads((first / "torch_profiler" / "metrics.json").read_text())
    manifest = json.loads((first / "run.json").read_text())
    chance = random.Random(1)
    for number in range(1, RUNS):
        run = folder / f"{number:05}"
        shutil.copytree(first, run)
        scale = chance.lognormvariate(0, SD) * (1.03 if number >= RUNS * 0.6 else 1)
        changed = {name: _scaled(metric, scale) for name, metric in metrics["metrics"].items()}
        (run / "torch_profiler" / "metrics.json").write_text(json.dumps({**metrics, "metrics": changed}))
        with (run / "config.yaml").open("a") as file:
            file.write(f"# {number}\n")
        day, hour = divmod(number * 6, 24)
        created = f"{2026 + day // 336}-{1 + day % 336 // 28:02}-{1 + day % 28:02}T{hour:02}:00:00.000Z"
        (run / "run.json").write_text(json.dumps({**manifest, "created": created}))


def _scaled(metric: dict[str, object], scale: float) -> dict[str, object]:
    def scaled(value: object) -> object:
        if isinstance(value, list):
            return [scaled(item) for item in value]
        return value * scale if isinstance(value, float) else value

    keys = ("median", "mean", "ci95", "launch_medians", "samples")
    return {key: scaled(value) if key in keys else value for key, value in metric.items()}


def claimed(runs: int, step: float) -> float:
    """In what share of series of so many runs any step is claimed."""
    chance = random.Random(runs)
    found = 0
    for _ in range(TRIALS):
        values = [chance.lognormvariate(0, SD) * (1 + step * (place >= runs // 2)) for place in range(runs)]
        found += bool(find_steps(values))
    return found / TRIALS


def main() -> None:
    """Measure and print."""
    llmperf = str(Path(sys.executable).parent / "llmperf")
    with tempfile.TemporaryDirectory() as folder:
        made(Path(folder))
        for words in (["trend", folder, "--json"], ["runs", folder], ["runs", folder, "--limit", "0"]):
            seconds, peak_mb = cpu_and_memory([llmperf, *words])
            print(f"llmperf {' '.join(words[:1] + words[2:]):20} {RUNS:,} runs: {seconds:.2f} CPU s, {peak_mb:.0f} MB")
    print(f"any step claimed, runs scatter by {SD:.0%}, {TRIALS:,} series each:")
    for runs, step in ROWS:
        share = claimed(runs, step)
        error = math.sqrt(share * (1 - share) / TRIALS)
        print(f"{runs:4} runs, step {step:.0%}: {share:.1%} ± {error:.1%}")


if __name__ == "__main__":
    main()
