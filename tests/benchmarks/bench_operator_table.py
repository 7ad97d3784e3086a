"""Operator table of a profile of 600,000 events: CPU seconds, what of it is the profiler's own handing over of its
events, and the ratio to `key_averages()` per event.

uv run python -m tests.benchmarks.bench_operator_table
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from llm_perf_opt.captures.timeline import analyse
from llm_perf_opt.captures.trace import event_count
from llm_perf_opt.stages.torch_profiler.child_events import live_events

EVENTS = 600_000
SAMPLE = 20_000
LIMIT_CPU_S = 1.0


def record(events: int) -> Any:
    """A profile of so many events: a linear layer without bias makes eight."""
    weight, inputs = torch.randn(8, 8), torch.randn(1, 8)
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiler, record_function("decode"):
        for _ in range(events // 8):
            torch.nn.functional.linear(inputs, weight)
    return profiler


def handed_over_s(profiler: Any) -> float:
    """CPU seconds in which torch makes its list of events, says the five things of each that a table needs, and takes
    the list away again."""
    start = time.process_time()
    events = profiler.profiler.kineto_results.events()
    for method in ("activity_type", "start_thread_id", "name", "start_ns", "duration_ns"):
        deque(map(getattr(type(events[0]), method), events), maxlen=0)
    del events
    return time.process_time() - start


def main() -> None:
    torch.set_num_threads(1)
    profiler = record(EVENTS)
    handed_s = handed_over_s(profiler)
    start = time.process_time()
    columns = live_events(profiler.profiler.kineto_results.events())
    tables = analyse(columns, "memory")
    ours_s = time.process_time() - start
    events = event_count(columns)
    assert sum(row.calls for row in tables.operators()) == events
    small = record(SAMPLE)
    count = len(small.profiler.kineto_results.events())
    start = time.process_time()
    small.key_averages()
    theirs_us = (time.process_time() - start) / count * 1e6
    ours_us = ours_s / events * 1e6
    print(f"{events:,} events folded in {ours_s:.2f} CPU s: {ours_s / LIMIT_CPU_S:.2f} of the limit of {LIMIT_CPU_S} s")
    print(f"of which torch takes {handed_s:.2f} s to hand them over: our own part {ours_s - handed_s:.2f} s")
    print(f"key_averages() {theirs_us:.1f} µs an event, ours {ours_us:.1f} µs: ratio {theirs_us / ours_us:.1f}")


if __name__ == "__main__":
    main()
