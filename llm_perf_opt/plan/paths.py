"""Where things are inside a run directory."""

from __future__ import annotations

from pathlib import Path


def stage_dir(run_path: Path, stage: str) -> Path:
    """The stage's own directory."""
    return run_path / stage


def scratch_dir(run_path: Path, stage: str) -> Path:
    """Order, events and log of the child that works for a stage."""
    return run_path / "tmp" / "workload" / stage


def workload_dir(run_path: Path, stage: str) -> Path:
    """What llmperf's own workload itself writes under the tool of a stage."""
    return run_path / "tmp" / "workload" / "torch_profiler" / stage


def save_dir(output_dir: Path, configured: str | None, default: str) -> Path:
    """A `save_dir` setting as a path: null is `default`, relative is under the stage's own directory, `.` is it."""
    return output_dir / (configured if configured is not None else default)
