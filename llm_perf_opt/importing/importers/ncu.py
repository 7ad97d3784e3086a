"""A report of ncu, or its raw or details page."""

from __future__ import annotations

from pathlib import Path

from llm_perf_opt.artifacts.layout import DETAILS, NCU_REPORT, RAW
from llm_perf_opt.captures.kernel_files import arithmetic_of
from llm_perf_opt.captures.ncu import export_report, read_details_csv, read_raw_csv, write_capture
from llm_perf_opt.errors import StageError
from llm_perf_opt.formats.ncu_rep import is_report
from llm_perf_opt.importing.importer import ImportContext, Importer
from llm_perf_opt.importing.item import outcome_of
from llm_perf_opt.records.kernels import KernelArithmetic
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.records.tools import NcuCapture, NcuFacts, NcuResult

REPORT, RAW_PAGE, DETAILS_PAGE = "ncu_report", "ncu_raw_csv", "ncu_details_csv"
STORED = {REPORT: NCU_REPORT, RAW_PAGE: RAW, DETAILS_PAGE: DETAILS}


def recognise(path: Path, start: bytes) -> str | None:
    """The kind of a file."""
    if is_report(start):
        return REPORT
    for line in start.decode("utf-8-sig", errors="replace").splitlines():
        if line.startswith(('"ID",', "ID,")) and ("Kernel Name" in line or "Range Name" in line):
            if "Metric Name" not in line:
                return RAW_PAGE
            return DETAILS_PAGE if "Section Name" in line else None
    return None


def read(context: ImportContext) -> Outcome:
    (item,) = context.items
    folder, progress = context.folder, context.progress
    stored = folder / STORED[item.kind]

    def extract() -> None:
        if item.kind == REPORT:
            found = export_report(item.source, folder / RAW)
        elif item.kind == RAW_PAGE:
            found = read_raw_csv(stored, ())
        else:
            found = read_details_csv(stored)
        _write_record(folder, *found, arithmetic_of(stored))

    if item.copy(stored, progress):
        progress.update(f"reading {item.source.name}", 0, 1, 0)
        item.attempt(extract)
    return outcome_of(context.items)


def _write_record(
    folder: Path, facts: NcuFacts, results: tuple[NcuResult, ...], arithmetic: tuple[KernelArithmetic, ...]
) -> None:
    if not facts.results:
        raise StageError("it holds no result", "profile again; ncu names each kernel that it profiles")
    record = NcuCapture(
        tool=None,
        replay_mode=None,
        replay_reason=None,
        filters=(),
        steady_step=False,
        device=None,
        passes=(),
        facts=facts,
        results=results,
        results_left_out=facts.results - len(results),
        arithmetic=arithmetic,
    )
    write_capture(folder, record)


IMPORTER = Importer(
    kinds={REPORT: "ncu report", RAW_PAGE: "ncu raw page (CSV)", DETAILS_PAGE: "ncu details page (CSV)"},
    recognise=recognise,
    read=read,
    record=NcuCapture,
    conflicting=lambda items: items if len(items) > 1 else (),
)
