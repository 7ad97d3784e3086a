"""Counters of GPUs in an nsys export: what `--gpu-metrics-devices` samples.

TARGET_INFO_GPU_METRICS names the metrics, GPU_METRICS holds whole percentages (user guide of nsys 2023.4, "SQLite
Schema Reference" and "GPU Metrics"). The low byte of a typeId is the number of the GPU, as nsys's own recipe
gpu_metric_util_map reads it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from llm_perf_opt.formats.sqlite_columns import Column, TableReader
from llm_perf_opt.records.columns import (
    DRAM_READ,
    DRAM_WRITE,
    SM_ACTIVE,
    TENSOR_ACTIVE,
    Counters,
    Device,
    Note,
)
from llm_perf_opt.records.factor import distinct

METRICS, SAMPLES = "TARGET_INFO_GPU_METRICS", "GPU_METRICS"
GPU_BITS = 0xFF
# As the metric sets of nsys 2023.4 (GpuMetrics/*.config, "General Metrics") and its user guide spell them.
_NAMES = (
    (SM_ACTIVE, re.compile(r"SMs? Active\b")),
    (TENSOR_ACTIVE, re.compile(r"Tensor Active\b")),
    (DRAM_READ, re.compile(r"DRAM Read (?:Bandwidth|Throughput)\b")),
    (DRAM_WRITE, re.compile(r"DRAM Write (?:Bandwidth|Throughput)\b")),
)
_UNIT = re.compile(r"\[([^\]]*)\]$")


def counters_of(reader: TableReader, devices: Sequence[Device]) -> tuple[Counters, list[Note]]:
    """The samples of the counters that are kept, of the GPUs that worked, and what could not be placed."""
    wanted = _wanted(reader)
    if not wanted:
        return Counters(), []
    keys = " OR ".join(f"(typeId = {kind} AND metricId = {metric})" for kind, metric in wanted)
    columns = [Column(name, needed=True) for name in ("timestamp", "typeId", "metricId", "value")]
    if reader.missing(SAMPLES, columns):
        return Counters(), [Note(f"{SAMPLES} has not all of its columns: it is not read.")]
    time, kind, metric, percent = reader.read(SAMPLES, columns, f"({keys}) AND timestamp IS NOT NULL")
    counter = np.full(len(time), -1, np.int8)
    for (of_kind, of_metric), number in wanted.items():
        counter[(kind == of_kind) & (metric == of_metric)] = number
    gpu = kind & GPU_BITS
    placed = _placed(reader, devices, distinct(gpu).tolist())
    device = np.full(len(time), -1, np.int32)
    for number, position in placed.items():
        device[gpu == number] = position
    strange = (percent < 0) | (percent > 100)
    kept = (device >= 0) & ~strange
    notes = []
    if strange.any():
        notes.append(Note("samples of GPU counters that are no percentage: left out", int(strange.sum())))
    lost = int(((device < 0) & ~strange).sum())
    if lost:
        notes.append(Note("samples of counters of GPUs that did no recorded work, or cannot be told apart", lost))
    return Counters(time[kept], device[kept], counter[kept], percent[kept]), notes


def _wanted(reader: TableReader) -> dict[tuple[int, int], int]:
    """(typeId, metricId) → counter."""
    if not {"typeId", "metricId", "metricName"} <= reader.columns_of(METRICS) or SAMPLES not in reader.tables:
        return {}
    rows = reader.connection.execute(f"SELECT typeId, metricId, metricName FROM {METRICS}")
    return {
        (kind, metric): number
        for kind, metric, name in rows
        for number, pattern in _NAMES
        if isinstance(kind, int) and isinstance(metric, int) and pattern.match(str(name)) and _is_percent(str(name))
    }


def _is_percent(name: str) -> bool:
    """Whether a metric is a percentage: newer releases say the unit of each behind its name."""
    unit = _UNIT.search(name)
    return unit is None or unit[1] == "Throughput %"


def _placed(reader: TableReader, devices: Sequence[Device], gpus: Sequence[int]) -> dict[int, int]:
    """GPU as nsys numbers it → position in `devices`."""
    columns = reader.columns_of("TARGET_INFO_CUDA_DEVICE")
    if {"gpuId", "uuid"} <= columns:
        rows = reader.connection.execute("SELECT gpuId, uuid FROM TARGET_INFO_CUDA_DEVICE WHERE gpuId IS NOT NULL")
        labels = {gpu: str(uuid or gpu) for gpu, uuid in rows}
        known = {device.gpu: position for position, device in enumerate(devices) if device.gpu is not None}
        return {gpu: known[labels[gpu]] for gpu in gpus if labels.get(gpu) in known}
    return {gpus[0]: 0} if len(gpus) == len(devices) == 1 else {}
