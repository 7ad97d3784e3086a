"""A command prefix for campaigns: in place of the child, arithmetic that always takes the same number of steps.

python fixed_work.py STEPS python -m llm_perf_opt.workload ORDER
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from llm_perf_opt.artifacts.layout import EVENTS, WORKLOAD
from tests.records import batch, repeat, workload

REPEATS = 5


def arithmetic_ms(steps: int) -> float:
    """CPU time of so many steps."""
    start, value = time.process_time(), 1
    for _ in range(steps):
        value = value * 48271 % 2147483647
    return (time.process_time() - start) * 1e3


def main() -> None:
    steps, order = int(sys.argv[1]), json.loads(Path(sys.argv[-1]).read_text(encoding="utf-8"))
    arithmetic_ms(steps)
    times = [arithmetic_ms(steps) for _ in range(REPEATS)]
    repeats = [repeat(ttft_ms=value / 2, prefill_ms=value / 2, e2e_ms=value) for value in times]
    record = workload(batch(*repeats), stage=order["stage"], launch=order["launch"], timings_only=True)
    (Path(order["output_dir"]) / WORKLOAD).write_text(record.model_dump_json(), encoding="utf-8")
    with (Path(order["scratch_dir"]) / EVENTS).open("a", encoding="utf-8") as events:
        events.write('{"kind": "done"}\n')


if __name__ == "__main__":
    main()
