"""Writing the reports of a run, from its directory alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, TypeVar

from pydantic_core import to_json

from llm_perf_opt.artifacts.layout import METRICS, REPORT, REPORT_HTML, SUMMARY
from llm_perf_opt.config.label import run_label
from llm_perf_opt.errors import LlmperfError
from llm_perf_opt.records.base import Record
from llm_perf_opt.records.device_timeline import DeviceTimeline
from llm_perf_opt.records.manifest import Manifest
from llm_perf_opt.records.tables import KernelRow, ProfileTables
from llm_perf_opt.records.workload import Instrumented, Profile
from llm_perf_opt.registry import SECTIONS
from llm_perf_opt.reports.advice import advice_of
from llm_perf_opt.reports.answer import answer_of
from llm_perf_opt.reports.attempt import Defect, Report, Written, defect_of, write_each
from llm_perf_opt.reports.document import Badge, Document, Paragraph, Section
from llm_perf_opt.reports.facts import Measured, RunFacts, read_run
from llm_perf_opt.reports.html import to_html
from llm_perf_opt.reports.markdown import to_markdown
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.trust import trust_of
from llm_perf_opt.reports.waterfall import waterfalls, whole_answer, without_capture

T = TypeVar("T")
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
    sections = find_sections(facts, written.defects)
    write_each(_stage_reports(facts, sections, written.defects), written)
    _write_run_reports(facts, sections, path, formats, written)
    return written


def write_run_reports(facts: RunFacts, folder: Path, formats: tuple[str, ...]) -> Written:
    """Write the report of a whole run into `folder`."""
    written = Written()
    _write_run_reports(facts, find_sections(facts, written.defects), folder, formats, written)
    return written


Sections = dict[str, ReportSection]


def find_sections(facts: RunFacts, defects: list[Defect]) -> Sections:
    """Those of llmperf and of the plug-ins whose stages the run holds, in the order of the report."""
    found = dict(SECTIONS.all(ReportSection))
    plugins = facts.setup.config.pipeline.plugins if facts.setup is not None else {}
    for name in SECTIONS.third_party().keys() & plugins.keys():
        try:
            found[name] = SECTIONS.get_third_party(name, ReportSection)
        except LlmperfError as error:
            defects.append(Defect(f"the section {name} of the report could not be written: {error.message}", 0))
    return dict(sorted(found.items(), key=lambda pair: pair[1].order))


def _stage_reports(facts: RunFacts, sections: Sections, defects: list[Defect]) -> Iterator[Report]:
    """What is beside the report of the run, in the directories of the stages."""
    for stage, measured in facts.measured.items():
        yield facts.path / stage / METRICS, partial(_metrics_json, measured)
    for name, section in sections.items():
        for file, document in _attempt(partial(_pages, section, facts), f"pages of the section {name}", defects) or ():
            yield facts.path / file, partial(to_markdown, document)


def _metrics_json(measured: Measured) -> str:
    return measured.metrics.model_dump_json(indent=2) + "\n"


def build_sections(facts: RunFacts, sections: Sections, defects: list[Defect]) -> tuple[Section, ...]:
    """All that have something to say, in order; in place of one that cannot be made stands that it could not.

    Args:
        defects: is given what was wrong with those.
    """
    built = []
    for name, section in sections.items():
        before = len(defects)
        made = _attempt(partial(_built, section, facts), f"the section {name} of the report", defects)
        if len(defects) > before:
            made = Section(name.capitalize(), (Paragraph(defects[-1].message),))
        built.append(made)
    return tuple(section for section in built if section is not None)


def _pages(section: ReportSection, facts: RunFacts) -> list[tuple[PurePosixPath, Document]]:
    return list(section.pages(facts))


def _built(section: ReportSection, facts: RunFacts) -> Section | None:
    made = section.build(facts)
    if made is not None:
        to_markdown(Document("", (made,)))  # what cannot be rendered would cost the whole report
    return made


def _attempt(make: Callable[[], T], what: str, defects: list[Defect]) -> T | None:
    try:
        return make()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - the boundary of a section: the others are written all the same
        defects.append(defect_of(error, what, 0))
        return None


def _write_run_reports(
    facts: RunFacts, sections: Sections, folder: Path, formats: tuple[str, ...], written: Written
) -> None:
    pages = {"md", "html"}.intersection(formats)
    document = Document(
        f"llmperf: {title_of(facts)}",
        build_sections(facts, sections, written.defects) if pages else (),
        badges_of(facts),
    )
    made: dict[str, Report] = {
        "md": (folder / REPORT, lambda: to_markdown(document)),
        "html": (folder / REPORT_HTML, lambda: to_html(document)),
        "json": (folder / SUMMARY, lambda: _summary_json(facts, written.defects)),
    }
    write_each([made[name] for name in formats], written)


def title_of(facts: RunFacts) -> str:
    """What the run is called: by its model, or by the files that were imported."""
    if facts.setup is not None:
        return run_label(facts.setup.config)
    names = [PurePath(file.source).name for file in facts.manifest.imported]
    if not names:
        return facts.path.name
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _summary_json(facts: RunFacts, defects: list[Defect]) -> str:
    return to_json(summary(facts, defects), indent=2).decode() + "\n"


def badges_of(facts: RunFacts) -> tuple[Badge, ...]:
    """How the stages ended, and what ran where."""
    good = {"completed": True, "failed": False, "interrupted": False}
    badges = [
        Badge(name if entry.status == "completed" else f"{name} {entry.status}", good.get(entry.status))
        for name, entry in facts.manifest.stages.items()
    ]
    measured = facts.headline
    if measured is not None:
        model, device = measured.workload.model, measured.workload.device
        repeats = measured.metrics.metrics["e2e.latency_ms"].n
        batches = len(measured.workload.batches)
        texts = (
            f"{model.model_type}, {model.weights} weights",
            f"{device.name}",
            f"{model.dtype} · {model.attention} · {measured.workload.execution} · {measured.workload.cache} cache",
            f"torch {device.torch_version}",
            f"{batches:,} batch{'' if batches == 1 else 'es'}, {repeats:,} timed repeats",
            f"fingerprint {(measured.workload.work_fingerprint or 'none')[:12]}",
        )
        badges += map(Badge, texts)
    elif facts.manifest.imported:
        badges.append(Badge("imported"))
    return (*badges, Badge(facts.manifest.created))


def summary(facts: RunFacts, defects: list[Defect] | None = None) -> dict[str, Any]:
    """`summary.json`: how the run went and its figures, for a program.

    Args:
        defects: is given what was wrong with the rules of advice, which cost `advice` alone.
    """
    manifest = facts.manifest
    advice = _attempt(partial(advice_of, facts), "the advice", [] if defects is None else defects)
    return {
        "schema_version": 1,
        "name": title_of(facts),
        "experiment": None if facts.setup is None else facts.setup.config.experiment,
        "llmperf_version": manifest.llmperf_version,
        "created": manifest.created,
        "answer": answer_of(facts),
        "trust": trust_of(facts),
        "imported": [file.model_dump(mode="json") for file in manifest.imported],
        "stages": {name: entry.model_dump(mode="json") for name, entry in manifest.stages.items()},
        "advice": None if advice is None else [found.model_dump(mode="json") for found in advice],
        "measured": {stage: _summary_of(facts, stage, measured) for stage, measured in facts.measured.items()},
        # Of several the first.
        **{record.SUMMARY: record.summary() for _, record in reversed(facts.all(Record)) if record.SUMMARY is not None},
        **timeline_summary(facts),
        **torch_summary(facts),
    }


def timeline_summary(facts: RunFacts) -> dict[str, Any]:
    """The time line of the first capture with its waterfall; of a run that only timed why there is none."""
    captures = waterfalls(facts)
    if captures:
        _, record, found = captures[0]
        said = {**record.summary(), "answer": whole_answer(record, found)}
    elif facts.measured:
        said, found = {}, without_capture()
    else:
        return {}
    dumped = {phase: one.model_dump(mode="json") for phase, one in found.items()}
    return {DeviceTimeline.SUMMARY: {**said, "waterfall": dumped}}


def torch_summary(facts: RunFacts) -> dict[str, Any]:
    """What a trace or a profiled sample says of operators and kernels, under `torch`."""
    found = next(iter(facts.all(ProfileTables)), None)
    if found is None:
        return {}
    place, tables = found
    line, profile = facts.of_stage(place.stage, DeviceTimeline), facts.of_stage(place.stage, Profile)
    columns = [field.name for field in fields(KernelRow)]
    operators = [
        {
            "phase": row.phase,
            "name": row.name,
            "input_shapes": row.input_shapes,
            "calls": row.calls,
            "self_host_ns": row.self_cpu_ns,
            "total_host_ns": row.total_cpu_ns,
            "device_ns": row.device_ns,
        }
        for row in tables.operators
    ]
    return {
        "torch": {
            "operators": operators,
            "kernels": [{name: getattr(row, name) for name in columns} for row in tables.kernels],
            "unattributed_device_ns": None if line is None else sum(row.total_ns for row in line.unattributed),
            "notes": [] if profile is None else list(profile.notes),
        }
    }


def _summary_of(facts: RunFacts, stage: str, measured: Measured) -> dict[str, Any]:
    workload = measured.workload
    instrumented = facts.of_stage(stage, Instrumented)
    return {
        "work_fingerprint": workload.work_fingerprint,
        "model": workload.model.model_dump(mode="json", exclude={"config"}),
        "device": workload.device.model_dump(mode="json"),
        "timings_only": workload.timings_only,
        "samples": sum(len(batch.samples) for batch in workload.batches),
        "throttled": measured.metrics.throttled,
        "failed_samples": [error.model_dump(mode="json") for error in workload.errors],
        "metrics": {
            name: metric.model_dump(mode="json", exclude={"samples", "batches", "launches"})
            for name, metric in measured.metrics.metrics.items()
        },
        "memory": workload.memory.model_dump(mode="json"),
        "hardware": measured.hardware.model_dump(mode="json"),
        "instrumented": None if instrumented is None else instrumented.model_dump(mode="json"),
        "launches": len(measured.launches),
        "notes": list(measured.notes),
    }
