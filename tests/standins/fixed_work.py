"""A command prefix for campaigns: in place of the child, arithmetic that always takes the same number of rounds.

python fixed_work.py ROUNDS python -m llm_perf_opt.workload ORDER

Rounds of a hash, since they run in C: a loop in Python takes up to 10 % more or less from one process to the next, by
where its objects happen to lie in memory.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path

from llm_perf_opt.artifacts.layout import EVENTS, WORKLOAD
from tests.records import batch, repeat, workload

WARMUP, REPEATS = 400, 800


def arithmetic_ms(rounds: int) -> float:
    """CPU time of so many rounds."""
    start = time.process_time_ns()
    hashlib.pbkdf2_hmac("sha256", b"fixed", b"work", rounds)
    return (time.process_time_ns() - start) / 1e6


def main() -> None:
    rounds, order = int(sys.argv[1]), json.loads(Path(sys.argv[-1]).read_text(encoding="utf-8"))
    times = [arithmetic_ms(rounds) for _ in range(WARMUP + REPEATS)][WARMUP:]
    repeats = [repeat(ttft_ms=value / 2, prefill_ms=value / 2, e2e_ms=value) for value in times]
    record = workload(batch(*repeats), stage=order["stage"], launch=order["launch"], timings_only=True)
    (Path(order["output_dir"]) / WORKLOAD).write_text(record.model_dump_json(), encoding="utf-8")
    with (Path(order["scratch_dir"]) / EVENTS).open("a", encoding="utf-8") as events:
        events.write('{"kind": "done"}\n')


if __name__ == "__main__":
    main()
