"""From the run directories of a sweep to its table."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from llm_perf_opt.analysis.statistics import summarize, unmeasured
from llm_perf_opt.analysis.sweep import Mark, launch_interval, on_front
from llm_perf_opt.artifacts.layout import METRICS, WORKLOAD
from llm_perf_opt.errors import MissingError
from llm_perf_opt.opening import parse_json, read_file
from llm_perf_opt.records.metrics import Metric, Metrics
from llm_perf_opt.records.sweep import (
    FIGURES,
    LATENCY,
    THROUGHPUT,
    Bound,
    Figure,
    PointResult,
    SweepPoint,
    SweepRequest,
    SweepResults,
)
from llm_perf_opt.sweep.directory import OPEN, State, SweepDirectory, out_of_memory_at, skipped
from llm_perf_opt.sweep.points import Task

BOUNDED = {"prefill.latency_ms": ("prefill.mfu",), "decode.tpot_ms": ("decode.mbu", "decode.mfu")}
"""Figure → the shares of peaks that its bound is made of."""


@dataclass(frozen=True)
class Launch:
    """What one run measured."""

    metrics: Metrics
    workload: Mapping[str, Any]
    """`workload.json` as it is: one run of hundreds, of which a few keys are wanted."""


def read_results(directory: SweepDirectory) -> SweepResults:
    """The table of everything that was asked of the sweep in `directory`.

    Raises:
        MissingError: there is none, or a manifest cannot be read.
    """
    request = directory.request()
    if request is None:
        raise MissingError(f"{directory.path} holds no sweep", "name the --output of llmperf sweep")
    tasks = {point.id: [Task(point, at) for at in range(1, request.launches + 1)] for point in request.points}
    states = {task.key: directory.state(task) for group in tasks.values() for task in group}
    known = [(task, states[task.key]) for group in tasks.values() for task in group]
    too_large = out_of_memory_at(known)
    rows = []
    for point in request.points:
        ended = [_state(task, states[task.key], too_large) for task in tasks[point.id]]
        rows.append(_row(directory, point, tasks[point.id], ended))
    return SweepResults(
        keys=tuple(request.points[0].settings) if request.points else (),
        launches=request.launches,
        points=tuple(_with_front(rows)),
        notes=_notes(request, rows),
    )


def _state(task: Task, known: State, too_large: dict[str, int]) -> State:
    return known if known.settled else skipped(task, too_large) or OPEN


def _row(directory: SweepDirectory, point: SweepPoint, tasks: Sequence[Task], states: Sequence[State]) -> PointResult:
    worst = next((state for kind in ("failed", "skipped", "open") for state in states if state.status == kind), None)
    launches = []
    unread = None
    for task, state in zip(tasks, states, strict=True):
        if state.status == "completed":
            found = read_launch(directory.run_path(task))
            if isinstance(found, Launch):
                launches.append(found)
            else:
                unread = found
    runs = [directory.run_path(task) for task in tasks]
    row = PointResult(
        id=point.id,
        settings=point.settings,
        status="completed" if worst is None else worst.status,
        reason=unread if worst is None else worst.reason,
        remedy=None if worst is None else worst.remedy,
        runs=tuple(path.relative_to(directory.path).as_posix() for path in runs if path.is_dir()),
        launches=len(launches),
    )
    return _measured(row, launches) if launches else row


def read_launch(run_path: Path) -> Launch | str:
    """The timings to quote of a run: those of a stage that did nothing else, where there is one; or why there are none.

    They are those of `metrics.json`, which every run leaves.
    """
    found = []
    for file in sorted(run_path.glob(f"*/{METRICS}")):
        try:
            workload = parse_json(read_file(file.with_name(WORKLOAD)))
            found.append(Launch(Metrics.read(file), workload))
        except (OSError, ValidationError, ValueError) as error:
            return f"{file.parent} cannot be read: {error}"
    if not found:
        return "no stage timed the model, or its metrics are gone: llmperf report RUN writes them again"
    return min(found, key=lambda launch: not launch.workload["timings_only"])


def _measured(row: PointResult, launches: Sequence[Launch]) -> PointResult:
    first = launches[0].workload
    batch = first["batches"][0] if first["batches"] else None
    figures = {name: _figure([_metric(launch, name) for launch in launches]) for name in FIGURES}
    return row.model_copy(
        update={
            "stage": launches[0].metrics.stage,
            "device": f"{first['device']['name']} ({first['device']['device']})",
            "prompt_tokens": batch and batch["padded_tokens"],
            "new_tokens": batch and max(max(repeat["new_tokens"]) for repeat in batch["repeats"]),
            "figures": figures,
            "bounds": {name: _bound(launches, name, shares) for name, shares in BOUNDED.items()},
        }
    )


def _metric(launch: Launch, name: str) -> Metric:
    if name != THROUGHPUT:
        known = launch.metrics.metrics.get(name)
        return known or unmeasured(FIGURES[name], "the llmperf that made this run had no such figure")
    repeats = [repeat for batch in launch.workload["batches"] for repeat in batch["repeats"]]
    return summarize("tokens/s", [sum(repeat["new_tokens"]) / repeat["e2e_ms"] * 1e3 for repeat in repeats])


def _figure(metrics: Sequence[Metric]) -> Figure:
    """Of one launch its median and the interval over repeats; of several the median and interval of their medians."""
    medians = [metric.median for metric in metrics if metric.median is not None]
    if not medians:
        return Figure(unit=metrics[0].unit, value=None, reason=metrics[0].reason)
    value = statistics.median(medians)
    unit = next(metric.unit for metric in metrics if metric.median is not None)
    if len(medians) > 1:
        between = launch_interval(medians)
        low, high = between or (None, None)
        kind = "launches" if between else None
    else:
        within = next(metric for metric in metrics if metric.median is not None).ci95
        low, high = within or (None, None)
        kind = "within one launch" if within else None
    return Figure(unit=unit, value=value, low=low, high=high, interval=kind, launches=tuple(medians))


def _bound(launches: Sequence[Launch], name: str, shares: Sequence[str]) -> Bound:
    """The least time that static analysis and the peaks allow the same work: a share of the peak × the time it is of.

    A decode step's is the larger of what its arithmetic and its memory traffic take.
    """
    metrics = launches[0].metrics.metrics
    known = [metrics[share] for share in shares if share in metrics]
    missing = next((metric.reason for metric in known if metric.median is None), None)
    if missing is not None or not known:
        return Bound(value_ms=None, reason=missing or "no share of a peak was measured")
    repeats = [repeat for batch in launches[0].workload["batches"] for repeat in batch["repeats"]]
    if name == "prefill.latency_ms":
        times = [repeat["prefill_ms"] for repeat in repeats]
    else:
        decoded = [repeat for repeat in repeats if repeat["decode_ms"] is not None]
        times = [repeat["decode_ms"] / len(repeat["step_ms"]) for repeat in decoded]
    least = [[share * time for share, time in zip(metric.samples, times, strict=True)] for metric in known]
    return Bound(value_ms=statistics.median(max(each) for each in zip(*least, strict=True)))


def _with_front(rows: Sequence[PointResult]) -> list[PointResult]:
    """The front is of points of the same lengths: a shorter text takes less time, and is no better for it."""
    marks = []
    for row in rows:
        latency, throughput = (row.figures[name].value if row.figures else None for name in (LATENCY, THROUGHPUT))
        if latency is not None and throughput is not None:
            marks.append(Mark(row.id, (row.prompt_tokens, row.new_tokens), latency, throughput))
    front, measured = on_front(marks), {mark.id for mark in marks}
    return [row.model_copy(update={"on_front": row.id in front if row.id in measured else None}) for row in rows]


def _notes(request: SweepRequest, rows: Sequence[PointResult]) -> tuple[str, ...]:
    notes = []
    devices = sorted({row.device for row in rows if row.device is not None})
    if len(devices) > 1:
        notes.append(f"Points ran on different devices: {', '.join(devices)}. Their times are not comparable.")
    if request.launches == 1 and any(row.figures for row in rows):
        notes.append(
            "Each point was launched once: its interval is over the repeats within one launch and says nothing of how "
            "far another launch would lie. --launches 5 gives an interval over launches."
        )
    return tuple(notes)
