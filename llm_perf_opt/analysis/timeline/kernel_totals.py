"""Count, total and longest of each kernel, over the launches that are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.records.kernels import KernelTotal


@dataclass(frozen=True, slots=True)
class KernelRows:
    """Launches of one file: an element of each column is one."""

    names: Sequence[str]
    name: NDArray[np.integer]
    graph: NDArray[np.bool_]
    """It is a CUDA graph that was traced whole, no kernel."""
    duration_ns: NDArray[np.int64]


def kernel_totals(files: Sequence[KernelRows]) -> tuple[list[KernelTotal], KernelTotal | None]:
    """Kernels of all files by name, longest total time first; and of all graphs that were traced whole, if any."""
    numbers: dict[str, int] = {}
    tables = [
        np.array([numbers.setdefault(name, len(numbers)) for name in file.names] or [0], np.int64) for file in files
    ]
    count, total, longest = (np.zeros(len(numbers) + 1, np.int64) for _ in range(3))
    for table, file in zip(tables, files, strict=True):
        # The last element is of graphs, whatever a file calls them.
        group = np.where(file.graph, len(numbers), table[file.name])
        np.add.at(count, group, 1)
        np.add.at(total, group, file.duration_ns)
        np.maximum.at(longest, group, file.duration_ns)
    found = [
        KernelTotal(*values)
        for values in zip([*numbers, "graphs"], count.tolist(), total.tolist(), longest.tolist(), strict=True)
    ]
    graphs = found.pop()
    kernels = [kernel for kernel in found if kernel.launches]
    return sorted(kernels, key=lambda kernel: (-kernel.total_ns, kernel.name)), graphs if graphs.launches else None
