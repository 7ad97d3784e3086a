"""Writing the reports of a run, from its directory alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.artifacts.layout import METRICS, REPORT, REPORT_HTML, SUMMARY
from llm_perf_opt.records.base import Record
from llm_perf_opt.records.manifest import Manifest
from llm_perf_opt.records.workload import Instrumented
from llm_perf_opt.registry import SECTIONS
from llm_perf_opt.reports.document import Document, Section
from llm_perf_opt.reports.facts import Measured, RunFacts, read_run
from llm_perf_opt.reports.html import to_html
from llm_perf_opt.reports.markdown import to_markdown
from llm_perf_opt.reports.section import ReportSection

FORMATS = ("md", "html", "json")


def write_reports(path: Path, manifest: Manifest) -> None:
    """Write every report of the run in `path` into it; `manifest` is the run's, its stages ended."""
    facts = read_run(path, manifest)
    write_stage_reports(facts)
    write_run_reports(facts, path, FORMATS)


def write_stage_reports(facts: RunFacts) -> list[Path]:
    """Write what is beside the report of the run, in the directories of the stages; the files written."""
    written = []
    for stage, measured in facts.measured.items():
        written.append(facts.path / stage / METRICS)
        write_text(written[-1], measured.metrics.model_dump_json(indent=2) + "\n")
    for _, section in _sections(facts):
        for file, document in section.pages(facts):
            written.append(facts.path / file)
            write_text(written[-1], to_markdown(document))
    return written


def _sections(facts: RunFacts) -> Iterator[tuple[str, ReportSection]]:
    """Those of llmperf and of the plug-ins whose stages the run holds, in the order of the report."""
    found = list(SECTIONS.all(ReportSection))
    offered = SECTIONS.third_party()
    plugins = facts.setup.config.pipeline.plugins if facts.setup is not None else {}
    found += [(name, SECTIONS.get_third_party(name, ReportSection)) for name in plugins if name in offered]
    yield from sorted(found, key=lambda pair: pair[1].order)


def build_sections(facts: RunFacts) -> tuple[Section, ...]:
    """All sections that have something to say, in order."""
    built = (section.build(facts) for _, section in _sections(facts))
    return tuple(section for section in built if section is not None)


def write_run_reports(facts: RunFacts, folder: Path, formats: tuple[str, ...]) -> list[Path]:
    """Write the report of a whole run into `folder`; the files written."""
    title = "imported files" if facts.setup is None else facts.setup.config.experiment
    document = Document(f"llmperf: {title}", build_sections(facts))
    made: dict[str, tuple[str, Callable[[], str]]] = {
        "md": (REPORT, lambda: to_markdown(document)),
        "html": (REPORT_HTML, lambda: to_html(document)),
        "json": (SUMMARY, lambda: json.dumps(summary(facts), indent=2, ensure_ascii=False) + "\n"),
    }
    written = []
    for name in formats:
        file, make = made[name]
        write_text(folder / file, make())
        written.append(folder / file)
    return written


def summary(facts: RunFacts) -> dict[str, Any]:
    """`summary.json`: how the run went and its figures, for a program."""
    manifest = facts.manifest
    return {
        "schema_version": 1,
        "experiment": None if facts.setup is None else facts.setup.config.experiment,
        "llmperf_version": manifest.llmperf_version,
        "created": manifest.created,
        "imported": [file.model_dump(mode="json") for file in manifest.imported],
        "stages": {name: entry.model_dump(mode="json") for name, entry in manifest.stages.items()},
        "measured": {stage: _summary_of(facts, stage, measured) for stage, measured in facts.measured.items()},
        **{record.SUMMARY: record.summary() for _, record in facts.all(Record) if record.SUMMARY is not None},
    }


def _summary_of(facts: RunFacts, stage: str, measured: Measured) -> dict[str, Any]:
    workload = measured.workload
    instrumented = facts.of_stage(stage, Instrumented)
    return {
        "work_fingerprint": workload.work_fingerprint,
        "model": workload.model.model_dump(mode="json", exclude={"config"}),
        "device": workload.device.model_dump(mode="json"),
        "samples": sum(len(batch.samples) for batch in workload.batches),
        "throttled": measured.metrics.throttled,
        "failed_samples": [error.model_dump(mode="json") for error in workload.errors],
        "metrics": {
            name: metric.model_dump(mode="json", exclude={"samples", "batches"})
            for name, metric in measured.metrics.metrics.items()
        },
        "memory": workload.memory.model_dump(mode="json"),
        "hardware": measured.hardware.model_dump(mode="json"),
        "instrumented": None if instrumented is None else instrumented.model_dump(mode="json"),
        "notes": list(workload.notes),
    }
