"""The kernel table that `nsys stats --report cuda_gpu_kern_sum --format csv` writes."""

from __future__ import annotations

import csv
from collections.abc import Iterable

from llm_perf_opt.errors import StageError
from llm_perf_opt.records.tools import KernelTime

SUMMARY_COLUMNS = (
    "Time (%)",
    "Total Time (ns)",
    "Instances",
    "Avg (ns)",
    "Med (ns)",
    "Min (ns)",
    "Max (ns)",
    "StdDev (ns)",
    "Name",
)
"""Header of `nsys stats --report cuda_gpu_kern_sum --format csv`, the same in the recorded tables."""


def read_summary(lines: Iterable[str]) -> list[KernelTime]:
    """The kernels of a table that `nsys stats --report cuda_gpu_kern_sum --format csv` wrote.

    Raises:
        StageError: there is no such table, or a row of it is not what its header says.
    """
    rest = iter(lines)
    above = next((number for number, line in enumerate(rest, 1) if is_summary_header(line)), None)
    if above is None:
        raise StageError(f"there is no table with the columns {', '.join(SUMMARY_COLUMNS)}", _SUMMARY_REMEDY)
    rows = csv.reader(rest, strict=True)
    try:
        return [_kernel_time(row, above + rows.line_num) for row in rows if row]
    except csv.Error as error:
        raise StageError(f"the kernel table cannot be read: {error}", _SUMMARY_REMEDY) from error


def is_summary_header(line: str) -> bool:
    """Whether a line is the header of a kernel summary."""
    return tuple(cell.strip().strip('"') for cell in line.split(",")) == SUMMARY_COLUMNS


_SUMMARY_REMEDY = "write it again: nsys stats --report cuda_gpu_kern_sum --format csv REPORT"


def _kernel_time(row: list[str], line: int) -> KernelTime:
    try:
        _, total, instances, mean, median, low, high, std = (float(cell.replace(",", "")) for cell in row[:8])
        if not row[8] or instances < 1:
            raise ValueError("a kernel without a name or launches")
        return KernelTime(
            name=row[8],
            instances=int(instances),
            total_ns=int(total),
            mean_ns=mean,
            median_ns=median,
            min_ns=int(low),
            max_ns=int(high),
            std_ns=std,
        )
    except (ValueError, IndexError, OverflowError) as error:
        shown = ",".join(row)[:100]
        raise StageError(
            f"line {line} of the kernel table is not what its header says: {shown}", _SUMMARY_REMEDY
        ) from error
