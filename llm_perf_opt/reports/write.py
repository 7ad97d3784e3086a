"""Writing the reports of a run, from its directory alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llm_perf_opt.artifacts.files import write_text
from llm_perf_opt.records.manifest import Manifest
from llm_perf_opt.records.tools import NcuCapture, NsysCapture
from llm_perf_opt.reports.document import Block, Document, Paragraph, Section
from llm_perf_opt.reports.facts import Measured, RunFacts, read_run
from llm_perf_opt.reports.html import to_html
from llm_perf_opt.reports.markdown import to_markdown
from llm_perf_opt.reports.sections import build_sections
from llm_perf_opt.reports.sections.figures import metric_blocks
from llm_perf_opt.reports.sections.nsight import nsys_blocks, region_blocks
from llm_perf_opt.reports.sections.operators import kernel_table, operator_table
from llm_perf_opt.reports.static import STATIC_MARKDOWN, static_document

FORMATS = ("md", "html", "json")


def write_reports(path: Path, manifest: Manifest) -> None:
    """Write every report of the run in `path` into it; `manifest` is the run's, its stages ended."""
    facts = read_run(path, manifest)
    for stage, measured in facts.measured.items():
        write_text(path / stage / "metrics.json", measured.metrics.model_dump_json(indent=2) + "\n")
    _write_profiler(path / "torch_profiler", facts)
    _write_nsight(path, facts)
    if facts.static is not None:
        write_text(path / "static_analysis" / STATIC_MARKDOWN, to_markdown(static_document(facts.static)))
    write_run_reports(facts, path, FORMATS)


def write_run_reports(facts: RunFacts, folder: Path, formats: tuple[str, ...]) -> list[Path]:
    """Write the report of a whole run into `folder`; the files written."""
    title = "imported files" if facts.setup is None else facts.setup.config.experiment
    document = Document(f"llmperf: {title}", build_sections(facts))
    made: dict[str, tuple[str, Callable[[], str]]] = {
        "md": ("report.md", lambda: to_markdown(document)),
        "html": ("report.html", lambda: to_html(document)),
        "json": ("summary.json", lambda: json.dumps(summary(facts), indent=2, ensure_ascii=False) + "\n"),
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
        "measured": {stage: _summary_of(measured) for stage, measured in facts.measured.items()},
        "nsys": _summary_of_capture(facts.nsys),
        "ncu": _summary_of_capture(facts.ncu),
        "static": facts.static.model_dump(mode="json", by_alias=True) if facts.static is not None else None,
    }


def _summary_of(measured: Measured) -> dict[str, Any]:
    workload = measured.workload
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
        "hardware": workload.hardware.model_dump(mode="json"),
        "instrumented": workload.instrumented.model_dump(mode="json"),
        "notes": list(workload.notes),
    }


def _summary_of_capture(capture: NsysCapture | NcuCapture | None) -> dict[str, Any] | None:
    return None if capture is None else capture.model_dump(mode="json", exclude={"kernels", "results"})


def _write_nsight(path: Path, facts: RunFacts) -> None:
    if facts.nsys is not None and facts.nsys.kernels:
        section = Section("Kernels", tuple(nsys_blocks(facts.nsys)))
        write_text(path / "nsys" / "kernels.md", to_markdown(Document("Nsight Systems", (section,))))
    for region in facts.ncu_regions:
        section = Section(region.written, tuple(region_blocks(region)))
        file = path / "ncu" / "regions" / region.folder / "report.md"
        write_text(file, to_markdown(Document("Nsight Compute", (section,))))


def _write_profiler(folder: Path, facts: RunFacts) -> None:
    sections = []
    if (measured := facts.measured.get("torch_profiler")) is not None:
        sections.append(Section("Figures", tuple(metric_blocks("torch_profiler", measured.metrics))))
    if facts.profile is not None:
        tables: list[Block] = [operator_table(facts.operators)]
        if facts.kernels:
            tables.append(kernel_table(facts.kernels))
        what = "the recorded trace" if facts.profile.sample is None else "one profiled sample"
        intro = Paragraph(f"Sums over {what}; self time leaves out what an operator called.")
        document = Document("Operators", (Section("All operators", (intro, *tables)),))
        write_text(folder / "operators.md", to_markdown(document))
        sections.append(Section("Top operators", (intro, operator_table(facts.operators, 20))))
    if sections:
        write_text(folder / "report.md", to_markdown(Document("PyTorch profiler", tuple(sections))))
