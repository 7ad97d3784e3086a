"""The kernel table that `nsys stats --report cuda_gpu_kern_sum --format csv` writes."""

from __future__ import annotations

import csv
import re
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


MOST_PERCENT = 100.1
"""Rounded to a tenth."""
_SUMMARY_REMEDY = "write it again: nsys stats --report cuda_gpu_kern_sum --format csv REPORT"


_WHOLE = re.compile(r"\d+|\d{1,3}(,\d{3})+", re.ASCII)
_NUMBER = re.compile(rf"({_WHOLE.pattern})(\.\d*)?", re.ASCII)
_SPREAD = 7
"""Of a single launch there is none in some releases."""


def _kernel_time(row: list[str], line: int) -> KernelTime:
    def refused(what: str) -> StageError:
        shown = ",".join(row)[:100]
        return StageError(
            f"line {line} of the kernel table is not what its header says: {what}: {shown}", _SUMMARY_REMEDY
        )

    if len(row) < len(SUMMARY_COLUMNS):
        raise refused(f"{len(row)} columns in place of {len(SUMMARY_COLUMNS)}")
    numbers = []
    for place, (column, cell) in enumerate(zip(SUMMARY_COLUMNS[:-1], row, strict=False)):
        wanted = _WHOLE if place in (1, 2, 5, 6) else _NUMBER
        if not wanted.fullmatch(cell) and (place != _SPREAD or cell):
            raise refused(f"{column} is {'no whole number' if wanted is _WHOLE else 'no number'} from 0 on")
        numbers.append(float(cell.replace(",", "") or 0))
    percent, total, instances, mean, median, low, high, spread = numbers
    if not row[8] or instances < 1:
        raise refused("a kernel without a name or launches")
    if percent > MOST_PERCENT:
        raise refused(f"{SUMMARY_COLUMNS[0]} is more than all")
    if not low <= median <= high or not low * instances <= total <= high * instances:
        raise refused("times that cannot be of the same launches")
    return KernelTime(
        name=row[8],
        instances=int(instances),
        total_ns=int(total),
        mean_ns=mean,
        median_ns=median,
        min_ns=int(low),
        max_ns=int(high),
        std_ns=spread,
    )
