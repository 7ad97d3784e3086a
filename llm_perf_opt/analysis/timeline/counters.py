"""Counters of devices by phase and step: means of the samples taken in those windows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from llm_perf_opt.analysis.timeline.devices import Windows, extents, phase_windows, step_windows
from llm_perf_opt.analysis.timeline.phases import Phases
from llm_perf_opt.analysis.timeline.state import State
from llm_perf_opt.records.columns import DRAM_READ, DRAM_WRITE, SM_ACTIVE, TENSOR_ACTIVE
from llm_perf_opt.records.device_timeline import CounterMeans

WHOLE = "capture"
Kind = Literal["device", "phase", "steps"]


def counter_means(state: State, phases: Phases) -> list[CounterMeans]:
    """Of every device, phase and kind of step in which samples were taken; empty where the file holds none."""
    if not len(state.events.counters):
        return []
    samples = _Samples(state)
    found = (samples.within(*window) for window in _windows(state, phases))
    return [row for row in found if row.samples]


def _windows(state: State, phases: Phases) -> Iterator[tuple[Kind, str, int, Windows]]:
    for device, start, end in extents(state):
        yield "device", WHOLE, device, (np.array([start]), np.array([end]))
    for name, device, _, merged in phase_windows(state, phases):
        yield "phase", name, device, merged
    for name, _, on, _, merged in step_windows(state, phases):
        if on is not None:
            yield "steps", name, on, merged


class _Samples:
    """Samples of each device and counter in the order of time, with their running sums."""

    def __init__(self, state: State) -> None:
        counters = state.events.counters
        order = np.lexsort((counters.time_ns, counters.counter, counters.device))
        sorted_rows = counters.take(order)
        keys = sorted_rows.device.astype(np.int64) * 4 + sorted_rows.counter
        self._columns = {}
        for key in np.unique(keys).tolist():
            mine = slice(*np.searchsorted(keys, [key, key + 1]))
            summed = np.append(0, np.cumsum(sorted_rows.percent[mine]))
            self._columns[key] = (sorted_rows.time_ns[mine], summed)

    def within(self, window: Kind, name: str, device: int, when: Windows) -> CounterMeans:
        means = {counter: self._mean(device, counter, when) for counter in range(4)}
        read, write = means[DRAM_READ][1], means[DRAM_WRITE][1]
        return CounterMeans(
            window=window,
            name=name,
            device=device,
            samples=max(count for count, _ in means.values()),
            sm_active_percent=means[SM_ACTIVE][1],
            tensor_active_percent=means[TENSOR_ACTIVE][1],
            dram_percent=None if read is None or write is None else read + write,
        )

    def _mean(self, device: int, counter: int, when: Windows) -> tuple[int, float | None]:
        """Samples taken from each start to before its end, and their mean."""
        times, summed = self._columns.get(device * 4 + counter, (np.empty(0, np.int64), np.zeros(1, np.int64)))
        first, last = (np.searchsorted(times, edge, "left") for edge in when)
        count, total = int((last - first).sum()), int((summed[last] - summed[first]).sum())
        return count, total / count if count else None
