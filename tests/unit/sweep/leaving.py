"""Runs of a sweep, as files that a run would leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from llm_perf_opt.artifacts.layout import CONFIG, MANIFEST, METRICS, WORKLOAD
from llm_perf_opt.records.manifest import Manifest, StageEntry
from llm_perf_opt.records.sweep import SweepPoint
from llm_perf_opt.records.workload import Workload
from llm_perf_opt.sweep.directory import SweepDirectory
from llm_perf_opt.sweep.points import Task
from tests.records import PEAKS, measured

RunStatus = Literal["running", "completed", "failed", "interrupted"]
OOM = "torch_profiler: out of memory in prefill (8 rows × 100 prompt tokens): 1,024 bytes more were asked for"


def point(batch: int = 1, group: str = "g", **settings: Any) -> SweepPoint:
    known = {"infer.batch_size": batch, **settings}
    return SweepPoint(id=f"{group}-{batch}", settings=known, group=group, batch=batch)


def task(batch: int = 1, group: str = "g", launch: int = 1) -> Task:
    return Task(point(batch, group), launch)


def leave(directory: SweepDirectory, done: Task, *, status: RunStatus = "completed", reason: str | None = None) -> Path:
    """The run of a task; `reason` is that of its failed stage."""
    run = directory.run_path(done)
    run.mkdir(parents=True)
    entry = StageEntry(status="failed" if reason else "completed", reason=reason, exit_code=int(reason is not None))
    over = status != "running"
    manifest = Manifest(
        llmperf_version="0",
        argv=("llmperf", "run"),
        status=status,
        exit_code=(0 if status == "completed" else 1) if over else None,
        created="2026-01-01T00:00:00.000Z",
        ended="2026-01-01T00:01:30.000Z" if over else None,
        stages={"direct_inference": entry},
    )
    (run / MANIFEST).write_text(manifest.model_dump_json())
    (run / CONFIG).write_text("{}\n")
    return run


def leave_figures(run: Path, record: Workload) -> None:
    folder = run / record.stage
    folder.mkdir()
    (folder / WORKLOAD).write_text(record.model_dump_json())
    (folder / METRICS).write_text(measured(record, peaks=PEAKS).metrics.model_dump_json())
