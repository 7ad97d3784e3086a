"""From runs to series: what makes two runs points of one series, and what is marked in it."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llm_perf_opt.analysis.comparison import HIGHER_IS_BETTER
from llm_perf_opt.analysis.launches import launch_values
from llm_perf_opt.analysis.statistics import summarize
from llm_perf_opt.analysis.steps import find_steps
from llm_perf_opt.analysis.verdict import Better
from llm_perf_opt.records.history import (
    PastEnvironment,
    PastInputs,
    PastMetric,
    PastMetrics,
    PastWorkload,
    TrendFigure,
    TrendMark,
    TrendPoint,
    TrendSeries,
    TrendStep,
)

FIGURES = ("ttft_ms", "prefill.latency_ms", "decode.tpot_ms", "decode.tokens_per_s", "e2e.latency_ms")
"""That are followed where none are asked for."""
_WRITTEN_BY = frozenset({"transformers_version", "dtype", "torch_dtype", "architectures", "use_cache"})
"""Keys of a model's configuration that change with who writes it, or say what is asked for beside it."""


@dataclass(frozen=True)
class Asked:
    """How long the outputs were to be."""

    max_new_tokens: int | None
    stop_on_eos: bool | None


@dataclass(frozen=True)
class Past:
    """What a trend is made of, of one run."""

    path: str
    created: str
    name: str
    stage: str
    llmperf_version: str
    workload: PastWorkload
    """Of the first launch that was measured."""
    inputs: PastInputs
    asked: Asked
    metrics: PastMetrics
    launches: int
    environment: PastEnvironment
    tokens_id: str | None = None
    """Digest of the output ids; null in runs of llmperf 0.2 and before."""
    notes: tuple[str, ...] = ()


def series_key(past: Past) -> dict[str, Any]:
    """What stays the same in a series: the parts of a work fingerprint but execution and outputs, and the lengths.

    Weights that were read tell the model by themselves; random ones only with its configuration, of which what
    transformers adds by itself is left out.
    """
    record, digests = past.workload, [sample.sha256 for sample in past.inputs.samples]
    model = record.model
    return {
        "model_type": model.model_type,
        "parameters": model.parameters,
        "weights_id": model.weights_id,
        "config": _plain(model.config) if model.weights == "random" else None,
        "dtype": model.dtype,
        "inputs": [[digests[index] for index in batch.samples] for batch in record.batches],
        "prompt_tokens": [batch.prompt_tokens for batch in record.batches],
        "max_new_tokens": past.asked.max_new_tokens,
        "stop_on_eos": past.asked.stop_on_eos,
    }


def _plain(config: Any) -> Any:
    if isinstance(config, Mapping):
        return {
            key: _plain(value)
            for key, value in config.items()
            if key not in _WRITTEN_BY and not str(key).startswith("_") and value is not None
        }
    return config


def series_of(
    runs: Sequence[Past], figures: Sequence[str], *, level: float, tolerance_percent: float
) -> list[TrendSeries]:
    """Every series with its points in the order they were made; that with the newest run first.

    Raises:
        ValueError: the records of a run do not fit together.
    """
    grouped: dict[str, list[Past]] = {}
    for past in runs:
        digest = hashlib.sha256(json.dumps(series_key(past), sort_keys=True).encode()).hexdigest()
        grouped.setdefault(digest[:12], []).append(past)
    found = []
    for key, members in grouped.items():
        ordered = sorted(members, key=lambda past: (past.created, past.path))
        points = tuple(_points(ordered, figures))
        steps = tuple(_steps(points, figures, level, tolerance_percent))
        found.append(_series(key, ordered[-1], points, steps))
    return sorted(found, key=lambda series: series.points[-1].created, reverse=True)


def _series(key: str, newest: Past, points: tuple[TrendPoint, ...], steps: tuple[TrendStep, ...]) -> TrendSeries:
    record = newest.workload
    return TrendSeries(
        id=key,
        name=newest.name,
        model_type=record.model.model_type,
        parameters=record.model.parameters,
        dtype=record.model.dtype,
        weights_id=record.model.weights_id,
        samples=sum(len(batch.samples) for batch in record.batches),
        prompt_tokens=tuple(count for batch in record.batches for count in batch.prompt_tokens),
        max_new_tokens=newest.asked.max_new_tokens,
        points=points,
        steps=steps,
    )


def _points(runs: Sequence[Past], figures: Sequence[str]) -> Iterator[TrendPoint]:
    before: Past | None = None
    for past in runs:
        yield TrendPoint(
            path=past.path,
            created=past.created,
            stage=past.stage,
            launches=past.launches,
            figures={name: figure_of(past.metrics.metrics.get(name)) for name in figures},
            marks=() if before is None else tuple(marks_between(before, past)),
            notes=past.notes,
        )
        before = past


def figure_of(metric: PastMetric | None) -> TrendFigure:
    """A figure as a point; null with the reason where it was not measured or is no amount."""
    if metric is None:
        return TrendFigure(unit="", reason="this version of llmperf did not know it")
    if metric.median is None or not metric.samples:
        return TrendFigure(unit=metric.unit, reason=metric.reason or "nothing was measured")
    if not all(math.isfinite(value) and value >= 0 for value in metric.samples):
        return TrendFigure(unit=metric.unit, reason="a value is no measured amount")
    several = len(set(metric.launches)) > 1
    return TrendFigure(
        unit=metric.unit,
        median=metric.median,
        interval=metric.ci95,
        interval_over=None
        if metric.ci95 is None
        else metric.ci95_over or ("medians of launches" if several else "repeats within one launch"),
        replicate=statistics.median(_launch_values(metric)),
    )


def _launch_values(metric: PastMetric) -> list[float]:
    """Of llmperf 0.2 and before, whose figures say nothing of launches, of the one there was."""
    known = metric if metric.launch_medians else summarize(metric.unit, metric.samples, None, metric.batches)
    return launch_values(known)


def _steps(
    points: Sequence[TrendPoint], figures: Sequence[str], level: float, tolerance_percent: float
) -> Iterator[TrendStep]:
    for name in figures:
        measured = [
            (index, point.figures[name].replicate, point.figures[name].unit)
            for index, point in enumerate(points)
            if point.figures[name].replicate is not None
        ]
        values = [value for _, value, _ in measured if value is not None]
        better: Better = "higher" if measured and measured[-1][2] in HIGHER_IS_BETTER else "lower"
        for step in find_steps(values, better=better, tolerance_percent=tolerance_percent, level=level):
            verdict = step.verdict
            assert verdict.outcome in ("faster", "slower")
            interval = verdict.change_percent_interval
            yield TrendStep(
                figure=name,
                point=measured[step.index][0],
                outcome=verdict.outcome,
                change_percent=verdict.change_percent,
                change_percent_interval=None
                if interval is None
                else (interval[0], interval[1] if math.isfinite(interval[1]) else None),
                confidence=verdict.confidence,
                method=verdict.method,
                runs=verdict.replicates,
            )


@dataclass(frozen=True)
class _Facts:
    """What may change in a series, by kind and name; None where it is not known."""

    execution: Mapping[str, str | None] = field(default_factory=dict)
    software: Mapping[str, str | None] = field(default_factory=dict)
    machine: Mapping[str, str | None] = field(default_factory=dict)


def _facts(past: Past) -> _Facts:
    record, environment = past.workload, past.environment
    device, gpus = record.device, environment.gpus
    cores = environment.cpu_available_cores
    return _Facts(
        execution={
            "execution": record.execution,
            "cache": record.cache,
            "attention": record.model.attention,
            "ranks": str(1 if record.rank is None else record.rank.world_size),
            "stage": past.stage,
        },
        software={
            "llmperf": past.llmperf_version,
            "torch": device.torch_version,
            "transformers": device.transformers_version,
            "CUDA": device.cuda_version,
            "driver": gpus.driver_version,
            "Python": environment.python_version,
        },
        machine={
            "device": device.name,
            "CPU": environment.cpu_model,
            "cores": None if cores is None else str(cores),
            "kernel": environment.kernel,
            "system": environment.os,
            "GPUs": ", ".join(f"{gpu.name} {gpu.uuid or ''}".strip() for gpu in gpus.gpus) or None,
        },
    )


def marks_between(before: Past, after: Past) -> Iterator[TrendMark]:
    """What is not as it was; of what is not known on one side nothing is said."""
    old, new = _facts(before), _facts(after)
    if (said := _output(before, after)) is not None:
        yield said
    for name, value in new.execution.items():
        if _changed(old.execution[name], value):
            yield TrendMark(kind="execution", name=name, before=old.execution[name], after=value)
    for name, value in new.software.items():
        if _changed(old.software[name], value):
            yield TrendMark(kind="software", name=name, before=old.software[name], after=value)
    for name, value in new.machine.items():
        if _changed(old.machine[name], value):
            yield TrendMark(kind="machine", name=name, before=old.machine[name], after=value)


def _changed(before: str | None, after: str | None) -> bool:
    return before is not None and after is not None and before != after


def _output(before: Past, after: Past) -> TrendMark | None:
    """Whether the model says something else: by the ids, or, of runs that did not keep them, by the fingerprint where
    execution, which is part of it, is the same."""
    made = [
        [[repeat.new_tokens for repeat in batch.repeats[:1]] for batch in past.workload.batches]
        for past in (before, after)
    ]
    if made[0] != made[1]:
        counts = [f"{sum(sum(rows) for batch in found for rows in batch):,} in all" for found in made]
        return TrendMark(kind="output", name="new tokens", before=counts[0], after=counts[1])
    if before.tokens_id is not None and after.tokens_id is not None:
        if before.tokens_id != after.tokens_id:
            return TrendMark(kind="output", name="ids", before=before.tokens_id[:12], after=after.tokens_id[:12])
        return None
    old, new = before.workload.work_fingerprint, after.workload.work_fingerprint
    if before.workload.execution == after.workload.execution and _changed(old, new):
        return TrendMark(kind="output", name="fingerprint", before=str(old)[:12], after=str(new)[:12])
    return None
