"""Folds the events of a profile into operators and kernels by phase.

One sweep with a stack gives self times and, what `key_averages()` of torch does not know, the phase that each operator
ran in; tests/benchmarks/bench_operator_table.py compares their cost.
"""

from __future__ import annotations

import gc
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

from llm_perf_opt.records.events import DeviceEvents, HostEvents
from llm_perf_opt.records.tables import KernelRow, OperatorRow

PHASES = frozenset({"warmup", "prefill", "decode"})
OUTSIDE = "outside"
PROFILER_STEP = "ProfilerStep#"  # the schedule's own label around everything


@dataclass
class Tables:
    """Sums over the events of one profile."""

    operators: dict[tuple[str, str, str], OperatorRow] = field(default_factory=dict)
    kernels: dict[tuple[str, str], KernelRow] = field(default_factory=dict)
    phase_ms: dict[str, float] = field(default_factory=dict)
    events: int = 0


def fold(host: HostEvents, device: DeviceEvents) -> Tables:
    """Operators and kernels, by phase.

    Host events of one thread nest; going through them by (thread, start, longest first) with a stack gives every
    event its children's time. Self time is its own duration less that of its direct children within it. Total time of
    an operator that calls itself is counted once. A device event belongs to the phase of the host event that launched
    it.
    """
    tables = Tables(events=len(host.names) + len(device.names))
    # Hundreds of thousands of small tuples are made and kept: the cycle collector would walk them again and again.
    collecting = gc.isenabled()
    gc.disable()
    try:
        by_operator, by_launch = _fold_host(host, tables, bool(device.names))
        _fold_device(device, by_operator, by_launch, tables)
    finally:
        if collecting:
            gc.enable()
    return tables


Rows = dict[int, OperatorRow]


def _fold_host(events: HostEvents, tables: Tables, link: bool) -> tuple[Rows, Rows]:
    """Fill in the operators; with `link`, returns the operator of each operator id and of each launch id."""
    names, starts_ns, durations_ns, shapes = events.names, events.starts_ns, events.durations_ns, events.shapes
    order = sorted(zip(events.threads, starts_ns, map(int.__neg__, durations_ns), itertools.count()))
    by_operator: Rows = {}
    by_launch: Rows = {}
    operators = tables.operators
    # The events around the current one, outermost first: when each ends, and its row.
    ends: list[int] = []
    rows: list[OperatorRow] = []
    active: dict[str, int] = {}
    thread: int | None = None
    for thread_id, start_ns, negative_ns, index in order:
        if thread_id != thread:
            ends, rows, active, thread = [], [], {}, thread_id
        while ends and ends[-1] <= start_ns:
            ends.pop()
            active[rows.pop().name] -= 1
        name = names[index]
        if name.startswith(PROFILER_STEP):
            continue
        phase = rows[-1].phase if rows else OUTSIDE
        if name in PHASES:
            tables.phase_ms[name] = tables.phase_ms.get(name, 0.0) - negative_ns / 1e6
            phase = name
        key = (phase, name, shapes[index] if shapes else "")
        row = operators.get(key)
        if row is None:
            row = operators[key] = OperatorRow(*key)
        row.calls += 1
        row.self_cpu_ns -= negative_ns
        end_ns = start_ns - negative_ns
        if rows:
            # Rounded times let a child end a little after its parent.
            rows[-1].self_cpu_ns -= min(end_ns, ends[-1]) - start_ns
        depth = active.get(name, 0)
        active[name] = depth + 1
        if not depth:
            row.total_cpu_ns -= negative_ns
        ends.append(end_ns)
        rows.append(row)
        if link:
            by_operator[events.operator_ids[index]] = row
            by_launch[events.launch_ids[index]] = row
    return by_operator, by_launch


def _fold_device(
    events: DeviceEvents, by_operator: Mapping[int, OperatorRow], by_launch: Mapping[int, OperatorRow], tables: Tables
) -> None:
    columns = zip(events.names, events.durations_ns, events.operator_ids, events.launch_ids, strict=True)
    for name, duration_ns, operator_id, launch_id in columns:
        launcher = by_operator.get(operator_id) if operator_id else None
        if launcher is None and launch_id:
            launcher = by_launch.get(launch_id)
        key = (launcher.phase if launcher is not None else OUTSIDE, name)
        row = tables.kernels.get(key)
        if row is None:
            row = tables.kernels[key] = KernelRow(*key)
        row.calls += 1
        row.total_ns += duration_ns
        row.max_ns = max(row.max_ns, duration_ns)
        if launcher is not None:
            launcher.device_ns += duration_ns
