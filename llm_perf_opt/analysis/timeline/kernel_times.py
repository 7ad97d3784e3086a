"""Statistics of each kernel over all its launches, of one file or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.analysis.timeline.intervals import runs
from llm_perf_opt.analysis.timeline.kernel_totals import KernelRows
from llm_perf_opt.analysis.timeline.trust import TRUSTED, distrusted, stream_numbers
from llm_perf_opt.records.columns import GRAPH, KERNEL, Events
from llm_perf_opt.records.tools import KernelTime


@dataclass(frozen=True, slots=True)
class KernelRuns:
    """The trusted launches of one file."""

    names: Sequence[str]
    name: NDArray[np.int32]
    duration_ns: NDArray[np.int64]


def kernel_runs(events: Events, reason: NDArray[np.int8] | None = None) -> KernelRuns:
    """Kernels whose times can be; copies, sets and whole graphs are none.

    Args:
        reason: as `distrusted` gives it, where that was computed before.
    """
    if reason is None:
        reason = distrusted(events, stream_numbers(events))
    work = events.work
    rows = np.flatnonzero((reason == TRUSTED) & (work.kind == KERNEL))
    return KernelRuns(events.names, work.name[rows], work.end_ns[rows] - work.start_ns[rows])


def kernel_rows(events: Events) -> KernelRows:
    """Kernels and whole graphs whose times can be."""
    work = events.work
    trusted = distrusted(events, stream_numbers(events)) == TRUSTED
    rows = np.flatnonzero(trusted & ((work.kind == KERNEL) | (work.kind == GRAPH)))
    return KernelRows(events.names, work.name[rows], work.kind[rows] == GRAPH, work.end_ns[rows] - work.start_ns[rows])


def kernel_times(files: Sequence[KernelRuns]) -> list[KernelTime]:
    """The kernels of all files by name, longest total time first."""
    numbers: dict[str, int] = {}
    names = []
    for file in files:
        table = np.array([numbers.setdefault(name, len(numbers)) for name in file.names], np.int64)
        names.append(table[file.name] if len(table) else np.empty(0, np.int64))
    name = np.concatenate([np.empty(0, np.int64), *names])
    duration = np.concatenate([np.empty(0, np.int64), *(file.duration_ns for file in files)])
    order = np.lexsort((duration, name))
    name, duration = name[order], duration[order]
    starts, _ = runs(name)
    ends = np.append(starts[1:], len(name))[: len(starts)]
    known = list(numbers)
    rows = [_row(known[int(name[start])], duration[start:end]) for start, end in zip(starts, ends, strict=True)]
    return sorted(rows, key=lambda row: (-row.total_ns, row.name))


def _row(name: str, ordered_ns: NDArray[np.int64]) -> KernelTime:
    count = len(ordered_ns)
    middle = (int(ordered_ns[(count - 1) // 2]) + int(ordered_ns[count // 2])) / 2
    return KernelTime(
        name=name,
        instances=count,
        total_ns=int(ordered_ns.sum()),
        mean_ns=float(ordered_ns.mean()),
        median_ns=middle,
        min_ns=int(ordered_ns[0]),
        max_ns=int(ordered_ns[-1]),
        std_ns=float(ordered_ns.std(ddof=1)) if count > 1 else 0.0,
    )
