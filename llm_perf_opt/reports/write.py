"""Writing the reports of a run, from its directory alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from llm_perf_opt.records.manifest import Manifest
from llm_perf_opt.records.metrics import Metrics
from llm_perf_opt.records.tools import NcuCapture, NcuRegion, NsysCapture
from llm_perf_opt.records.workload import Profile
from llm_perf_opt.reports.attempt import Report, Written, write_each
from llm_perf_opt.reports.document import Block, Document, Paragraph, Section
from llm_perf_opt.reports.facts import Measured, RunFacts, read_run
from llm_perf_opt.reports.html import to_html
from llm_perf_opt.reports.markdown import to_markdown
from llm_perf_opt.reports.sections import build_sections
from llm_perf_opt.reports.sections.figures import metric_blocks
from llm_perf_opt.reports.sections.nsight import nsys_blocks, region_blocks
from llm_perf_opt.reports.sections.operators import kernel_table, operator_table

FORMATS = ("md", "html", "json")


def write_reports(path: Path, manifest: Manifest, formats: tuple[str, ...] = FORMATS) -> Written:
    """Write every report of the run in `path` into it; `manifest` is the run's, its stages ended.

    Args:
        formats: those of the report of the whole run; what is written of single stages has one each.

    Raises:
        MissingError: a record cannot be read.
    """
    facts = read_run(path, manifest)
    written = Written()
    write_each(_stage_reports(path, facts), written)
    _write_run_reports(facts, path, formats, written)
    return written


def write_run_reports(facts: RunFacts, folder: Path, formats: tuple[str, ...]) -> Written:
    """Write the report of a whole run into `folder`."""
    written = Written()
    _write_run_reports(facts, folder, formats, written)
    return written


def _write_run_reports(facts: RunFacts, folder: Path, formats: tuple[str, ...], written: Written) -> None:
    title = "imported files" if facts.setup is None else facts.setup.config.experiment
    pages = {"md", "html"}.intersection(formats)
    document = Document(f"llmperf: {title}", build_sections(facts, written.defects) if pages else ())
    made: dict[str, Report] = {
        "md": (folder / "report.md", lambda: to_markdown(document)),
        "html": (folder / "report.html", lambda: to_html(document)),
        "json": (folder / "summary.json", lambda: json.dumps(summary(facts), indent=2, ensure_ascii=False) + "\n"),
    }
    write_each([made[name] for name in formats], written)


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


def _stage_reports(path: Path, facts: RunFacts) -> Iterator[Report]:
    for stage, measured in facts.measured.items():
        yield path / stage / "metrics.json", partial(_metrics_json, measured.metrics)
    if facts.profile is not None:
        yield path / "torch_profiler" / "operators.md", partial(_operators_page, facts)
    if facts.profile is not None or "torch_profiler" in facts.measured:
        yield path / "torch_profiler" / "report.md", partial(_profiler_page, facts)
    if facts.nsys is not None and facts.nsys.kernels:
        yield path / "nsys" / "kernels.md", partial(_kernels_page, facts.nsys)
    for region in facts.ncu_regions:
        file = path / "ncu" / "regions" / region.folder / "report.md"
        yield file, partial(_region_page, region)


def _metrics_json(metrics: Metrics) -> str:
    return metrics.model_dump_json(indent=2) + "\n"


def _kernels_page(nsys: NsysCapture) -> str:
    return to_markdown(Document("Nsight Systems", (Section("Kernels", tuple(nsys_blocks(nsys))),)))


def _region_page(region: NcuRegion) -> str:
    return to_markdown(Document("Nsight Compute", (Section(region.written, tuple(region_blocks(region))),)))


def _operator_intro(profile: Profile) -> Paragraph:
    what = "the recorded trace" if profile.sample is None else "one profiled sample"
    return Paragraph(f"Sums over {what}; self time leaves out what an operator called.")


def _operators_page(facts: RunFacts) -> str:
    assert facts.profile is not None
    tables: list[Block] = [operator_table(facts.operators)]
    if facts.kernels:
        tables.append(kernel_table(facts.kernels))
    section = Section("All operators", (_operator_intro(facts.profile), *tables))
    return to_markdown(Document("Operators", (section,)))


def _profiler_page(facts: RunFacts) -> str:
    sections = []
    if (measured := facts.measured.get("torch_profiler")) is not None:
        sections.append(Section("Figures", tuple(metric_blocks("torch_profiler", measured.metrics))))
    if facts.profile is not None:
        intro = _operator_intro(facts.profile)
        sections.append(Section("Top operators", (intro, operator_table(facts.operators, 20))))
    return to_markdown(Document("PyTorch profiler", tuple(sections)))
