"""From run directories to their trend: of each run a handful of small records, and none twice that many share."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from llm_perf_opt.analysis.trend import Asked, Past, series_of
from llm_perf_opt.analysis.verdict import LEVEL
from llm_perf_opt.artifacts.history import PassedOver, PastRun
from llm_perf_opt.artifacts.layout import (
    CONFIG,
    ENVIRONMENT,
    INPUTS,
    METRICS,
    SUMMARY,
    TOKENS,
    WORKLOAD,
    headline_dir,
    record_dirs,
    stage_dir,
)
from llm_perf_opt.artifacts.run_directory import now
from llm_perf_opt.errors import MissingError
from llm_perf_opt.opening import read_file
from llm_perf_opt.records.history import (
    NotRead,
    PastEnvironment,
    PastInputs,
    PastMetrics,
    PastSummary,
    PastWorkload,
    Trend,
)
from llm_perf_opt.records.manifest import Manifest
from llm_perf_opt.records.yaml_file import plain_yaml
from llm_perf_opt.stages.base import Progress

T = TypeVar("T")


def trend_of(
    runs: Sequence[PastRun],
    passed: Iterable[PassedOver],
    figures: Sequence[str],
    *,
    tolerance_percent: float,
    level: float = LEVEL,
    progress: Progress,
) -> Trend:
    """The trend of `runs`; what cannot be read is passed over with its reason."""
    not_read = [NotRead(path=str(item.path), reason=item.reason) for item in passed]
    found, reader = [], _Reader()
    for done, run in enumerate(runs):
        progress.update("reading", done, len(runs), 0)
        try:
            found.append(_past(run, reader))
        except MissingError as error:
            not_read.append(NotRead(path=str(run.path), reason=error.message))
    return Trend(
        figures=tuple(figures),
        tolerance_percent=tolerance_percent,
        level=level,
        series=tuple(series_of(found, figures, level=level, tolerance_percent=tolerance_percent)),
        passed_over=tuple(not_read),
    )


def _past(run: PastRun, reader: _Reader) -> Past:
    """What a trend asks of one run.

    Raises:
        MissingError: it timed nothing, or a record is missing, was changed, or cannot be read.
    """
    path, manifest = run.path, run.manifest
    if manifest.imported:
        raise MissingError("it is made of imported files, which time nothing")
    timed = [(stage, folders) for stage in manifest.stages if (folders := _launched(path, stage))]
    if not timed:
        raise MissingError("no stage timed the model")
    records = [
        (stage, folders, reader.read(run, folders[0] / WORKLOAD, PastWorkload.model_validate_json))
        for stage, folders in timed
    ]
    stage, folders, record = min(records, key=lambda item: not item[2].timings_only)
    inputs = reader.read(run, path / INPUTS, _inputs, shared=True)
    if not record.batches or any(index >= len(inputs.samples) for batch in record.batches for index in batch.samples):
        raise MissingError(f"{stage} ran no sample of {INPUTS}")
    metrics = reader.read(run, path / stage / METRICS, PastMetrics.model_validate_json)
    return Past(
        path=str(path),
        created=_time(manifest.created),
        name=_name(path),
        stage=stage,
        llmperf_version=manifest.llmperf_version,
        workload=record,
        inputs=inputs,
        asked=reader.read(run, path / CONFIG, _asked, shared=True),
        metrics=metrics,
        launches=len(folders),
        environment=reader.read(run, path / ENVIRONMENT, PastEnvironment.model_validate_json, shared=True),
        tokens_id=manifest.artifacts.get(f"{folders[0].relative_to(path).as_posix()}/{TOKENS}"),
        notes=tuple(_notes(manifest, stage, metrics)),
    )


def _launched(path: Path, stage: str) -> list[Path]:
    """Where the launches of a stage that were measured left their records, in order."""
    folders = map(headline_dir, record_dirs(stage_dir(path, stage)))
    return [folder for folder in folders if (folder / WORKLOAD).exists()]


def _notes(manifest: Manifest, stage: str, metrics: PastMetrics) -> Iterable[str]:
    entry = manifest.stages[stage]
    if entry.status != "completed":
        yield f"{stage} {entry.status}: {entry.reason}" if entry.reason else f"{stage} {entry.status}"
    if manifest.created > now():
        yield "by its clock it was made after today: its place among the others is not sure"
    if metrics.throttled:
        yield "the GPU was throttled"
    if manifest.ended is not None and manifest.ended < manifest.created:
        yield f"the clock was set back while it ran, to {manifest.ended}: its place among the others is not sure"


def _time(created: str) -> str:
    try:
        datetime.fromisoformat(created)
    except ValueError:
        raise MissingError(f"it was made at {created!r}, which is no time") from None
    return created


def _name(path: Path) -> str:
    """As its report calls it."""
    try:
        return PastSummary.model_validate_json(read_file(path / SUMMARY)).name
    except (OSError, ValidationError):
        return path.name


def _inputs(content: bytes) -> PastInputs:
    return PastInputs.model_validate(_yaml(content))


def _asked(content: bytes) -> Asked:
    infer = _yaml(content).get("infer", {})
    return Asked(infer.get("max_new_tokens"), infer.get("stop_on_eos"))


def _yaml(content: bytes) -> dict[str, Any]:
    found = plain_yaml(content)
    if not isinstance(found, dict):
        raise TypeError("it holds no mapping")
    return found


class _Reader:
    """Reads records that are as the manifest says; runs of one series share many of them to the byte."""

    def __init__(self) -> None:
        self._parsed: dict[tuple[str, Callable[[bytes], Any]], Any] = {}

    def read(self, run: PastRun, file: Path, parse: Callable[[bytes], T], *, shared: bool = False) -> T:
        """A record of `run`.

        Raises:
            MissingError: it is missing, was changed, or cannot be read.
        """
        name = file.relative_to(run.path).as_posix()
        try:
            content = read_file(file)
        except OSError as error:
            raise MissingError(f"{name} cannot be read: {error.strerror}") from error
        digest = hashlib.sha256(content).hexdigest()
        if run.manifest.artifacts.get(name, digest) != digest:
            raise MissingError(f"{name} is not what its manifest says: it was changed")
        found: T | None = self._parsed.get((digest, parse))
        if found is None:
            found = _parsed(name, content, parse)
            if shared:
                self._parsed[digest, parse] = found
        return found


def _parsed(name: str, content: bytes, parse: Callable[[bytes], T]) -> T:
    try:
        return parse(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise MissingError(f"{name} cannot be read: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    except (ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise MissingError(f"{name} cannot be read: {error}") from error
