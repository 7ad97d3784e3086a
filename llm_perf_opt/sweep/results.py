"""From the run directories of a sweep to its table."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from llm_perf_opt.analysis.front import Mark, on_front
from llm_perf_opt.analysis.statistics import launch_interval, summarize, unmeasured
from llm_perf_opt.artifacts.layout import METRICS, WORKLOAD, headline_dir, record_dirs
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
    SweepResults,
)
from llm_perf_opt.sweep.directory import OPEN, State, SweepDirectory, out_of_memory_at, skipped
from llm_perf_opt.sweep.points import Task

BOUNDED = {"prefill.latency_ms": ("prefill.mfu",), "decode.tpot_ms": ("decode.mbu", "decode.mfu")}
"""Figure → the shares of peaks that its bound is made of."""


@dataclass(frozen=True)
class MeasuredRun:
    """What one run measured, in one launch or several."""

    metrics: Metrics
    workloads: tuple[Mapping[str, Any], ...]
    """`workload.json` of each launch as it is: one run of hundreds, of which a few keys are wanted."""

    @property
    def repeats(self) -> list[list[Mapping[str, Any]]]:
        """The timed repeats of each launch, batch by batch."""
        return [[repeat for batch in found["batches"] for repeat in batch["repeats"]] for found in self.workloads]


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
        notes=_notes(rows),
    )


def _state(task: Task, known: State, too_large: dict[str, int]) -> State:
    return known if known.settled else skipped(task, too_large) or OPEN


def _row(directory: SweepDirectory, point: SweepPoint, tasks: Sequence[Task], states: Sequence[State]) -> PointResult:
    worst = next((state for kind in ("failed", "skipped", "open") for state in states if state.status == kind), None)
    measured = []
    unread = None
    for task, state in zip(tasks, states, strict=True):
        if state.status == "completed":
            found = read_measured(directory.run_path(task))
            if isinstance(found, MeasuredRun):
                measured.append(found)
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
        launches=sum(len(run.workloads) for run in measured),
    )
    return _measured(row, measured) if measured else row


def read_measured(run_path: Path) -> MeasuredRun | str:
    """The timings to quote of a run: those of a stage that did nothing else, where there is one; or why there are none.

    They are those of `metrics.json`, which every run leaves.
    """
    found = []
    for file in sorted(run_path.glob(f"*/{METRICS}")):
        try:
            places = [headline_dir(place) / WORKLOAD for place in record_dirs(file.parent)]
            workloads = tuple(parse_json(read_file(place)) for place in places if place.exists())
            found.append(MeasuredRun(Metrics.read(file), workloads))
        except (OSError, ValidationError, ValueError) as error:
            return f"{file.parent} cannot be read: {error}"
    found = [run for run in found if run.workloads]
    if not found:
        return "no stage timed the model, or its metrics are gone: llmperf report RUN writes them again"
    return min(found, key=lambda run: not run.workloads[0]["timings_only"])


def _measured(row: PointResult, runs: Sequence[MeasuredRun]) -> PointResult:
    first = runs[0].workloads[0]
    batch = first["batches"][0] if first["batches"] else None
    return row.model_copy(
        update={
            "stage": runs[0].metrics.stage,
            "device": f"{first['device']['name']} ({first['device']['device']})",
            "prompt_tokens": batch and batch["padded_tokens"],
            "new_tokens": batch and max(max(repeat["new_tokens"]) for repeat in batch["repeats"]),
            "figures": {name: _figure([_metric(run, name) for run in runs]) for name in FIGURES},
            "bounds": {name: _bound(runs[0], name, shares) for name, shares in BOUNDED.items()},
        }
    )


def _metric(run: MeasuredRun, name: str) -> Metric:
    if name != THROUGHPUT:
        known = run.metrics.metrics.get(name)
        return known or unmeasured(FIGURES[name], "the llmperf that made this run had no such figure")
    repeats = [(number, repeat) for number, of_launch in enumerate(run.repeats) for repeat in of_launch]
    rates = [sum(repeat["new_tokens"]) / repeat["e2e_ms"] * 1e3 for _, repeat in repeats]
    return summarize(FIGURES[name], rates, launches=[number for number, _ in repeats])


def _figure(metrics: Sequence[Metric]) -> Figure:
    """Of one launch its median and the interval over repeats; of several the median and interval of their medians."""
    measured = [metric for metric in metrics if metric.median is not None]
    if not measured:
        return Figure(unit=metrics[0].unit, value=None, reason=metrics[0].reason)
    medians = [
        median
        for metric in measured
        if metric.median is not None
        for median in metric.launch_medians or (metric.median,)  # none in a run of an earlier version
    ]
    several = len(medians) > 1
    interval = launch_interval(medians) if several else measured[0].ci95
    low, high = interval or (None, None)
    return Figure(
        unit=measured[0].unit,
        value=statistics.median(medians),
        low=low,
        high=high,
        interval=None if interval is None else "launches" if several else "within one launch",
        launches=tuple(medians),
    )


def _bound(run: MeasuredRun, name: str, shares: Sequence[str]) -> Bound:
    """The least time that static analysis and the peaks allow the same work: a share of the peak × the time it is of.

    A decode step's is the larger of what its arithmetic and its memory traffic take.
    """
    known = [run.metrics.metrics[share] for share in shares if share in run.metrics.metrics]
    missing = next((metric.reason for metric in known if metric.median is None), None)
    if missing is not None or not known:
        return Bound(value_ms=None, reason=missing or "no share of a peak was measured")
    repeats = [repeat for of_launch in run.repeats for repeat in of_launch]
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


def _notes(rows: Sequence[PointResult]) -> tuple[str, ...]:
    notes = []
    devices = sorted({row.device for row in rows if row.device is not None})
    if len(devices) > 1:
        notes.append(f"Points ran on different devices: {', '.join(devices)}. Their times are not comparable.")
    if any(row.launches == 1 for row in rows):
        notes.append(
            "An interval of a point that was launched once is over the repeats within that launch and says nothing of "
            "how far another would lie. --launches 5 gives intervals over launches."
        )
    return tuple(notes)
