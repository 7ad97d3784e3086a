"""What nsys left: its exports as a record, and the table of all kernels."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.artifacts.layout import FACTS, KERNEL_SUMMARY
from llm_perf_opt.formats.nsys_stats import SUMMARY_COLUMNS
from llm_perf_opt.records.tools import (
    Failure,
    KernelTime,
    NsysCapture,
    NsysReport,
    Tool,
)

MOST_KERNELS = 50
"""Kernels in the record; the summary has all."""


def nsys_capture(
    reports: Sequence[NsysReport],
    kernels: Sequence[KernelTime],
    *,
    tool: Tool | None = None,
    trigger: str | None = None,
    device: str | None = None,
    failure: Failure | None = None,
) -> NsysCapture:
    """The record of a capture; what is not known of it, as of imported files, is None."""
    return NsysCapture(
        tool=tool,
        trigger=trigger,
        device=device,
        reports=tuple(reports),
        kernels=tuple(kernels[:MOST_KERNELS]),
        kernels_left_out=max(0, len(kernels) - MOST_KERNELS),
        failure=failure,
    )


def write_capture(directory: Path, record: NsysCapture, kernels: list[KernelTime] | None) -> None:
    """Write what a capture left: the record, and with `kernels` the table of all of them."""
    record = record.model_copy(
        update={"not_cleaned": tuple(sorted(file.name for file in directory.glob("*.nsys-rep")))}
    )
    write_text(directory / FACTS, record.model_dump_json(indent=2) + "\n")
    if kernels is not None:
        write_text(directory / KERNEL_SUMMARY, summary_csv(kernels))


def summary_csv(rows: list[KernelTime]) -> str:
    """The summary as `nsys stats` writes it (`summary_cuda_gpu_kern_sum.csv`)."""
    everything = sum(row.total_ns for row in rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(SUMMARY_COLUMNS)
    for row in rows:
        share = 100 * row.total_ns / everything if everything else 0.0
        spread = [f"{row.mean_ns:.1f}", f"{row.median_ns:.1f}", row.min_ns, row.max_ns, f"{row.std_ns:.1f}"]
        writer.writerow([f"{share:.1f}", row.total_ns, row.instances, *spread, row.name])
    return text.getvalue()
