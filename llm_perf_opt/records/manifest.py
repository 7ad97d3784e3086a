"""`run.json`: what a run was asked, how far it got, and what it left."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from llm_perf_opt.records.base import Record

StageStatus = Literal["pending", "running", "completed", "skipped", "failed", "interrupted"]


class StageEntry(Record):
    """One stage of the run."""

    status: StageStatus = "pending"
    reason: str | None = None
    remedy: str | None = None
    exit_code: int = 0
    started: str | None = None
    """UTC, ISO 8601."""
    ended: str | None = None
    work_fingerprint: str | None = None


class ImportedFile(Record):
    """One file that was captured elsewhere."""

    source: str
    """Its absolute path when it was imported."""
    kind: str
    """Of the importer that read it, such as `nsys_sqlite`."""
    what: str
    """The kind in words."""
    size_bytes: int
    sha256: str | None
    """Null where it could not be copied."""
    stored: str | None
    """Where its copy is, relative to the run directory; null where there is none."""
    gpu: str | None = None
    """As `--gpu` named it, for what the file does not say it of."""
    problem: str | None = None
    """Why nothing was read from it."""
    rank: int | None = None
    """Where it is one of several ranks of a job."""
    ranges: tuple[str, ...] = ()
    """As `--range` named them, for an import that goes on."""


class Manifest(Record):
    """The run."""

    schema_version: Literal[1] = 1
    llmperf_version: str
    argv: tuple[str, ...]
    """The command line, secrets redacted."""
    status: Literal["running", "completed", "failed", "interrupted"] = "running"
    exit_code: int | None = None
    """Null while running."""
    created: str
    """UTC, ISO 8601."""
    ended: str | None = None
    stages: dict[str, StageEntry]
    """In the order they run."""
    imported: tuple[ImportedFile, ...] = ()
    """Files that `llmperf import` put together: such a run has no configuration, environment or inputs."""
    hidden: tuple[str, ...] = ()
    """Settings that `config.yaml` does not hold as they were, since they held a secret: the run cannot be resumed."""
    problems: tuple[str, ...] = ()
    """What went wrong beside the stages: a report that could not be written, a run directory that was removed."""
    artifacts: dict[str, str] = Field(default_factory=dict)
    """Path relative to the run directory → sha256; those of a stage when it ends, all when the run ends."""
