"""A report of ncu, or its raw page."""

from __future__ import annotations

from pathlib import Path

from llm_perf_opt.artifacts.layout import NCU_REPORT, RAW
from llm_perf_opt.captures.ncu import export_report, read_raw_csv, write_capture
from llm_perf_opt.errors import ConfigError, StageError
from llm_perf_opt.formats.ncu_rep import is_report
from llm_perf_opt.importing.importer import ImportContext, Importer
from llm_perf_opt.importing.item import outcome_of
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.records.tools import NcuCapture, NcuFacts, NcuResult

REPORT, RAW_PAGE = "ncu_report", "ncu_raw_csv"


def recognise(path: Path, start: bytes) -> str | None:
    """The kind of a file.

    Raises:
        ConfigError: it is the details page, which leaves out most metrics.
    """
    if is_report(start):
        return REPORT
    for line in start.decode("utf-8", errors="replace").splitlines():
        if line.startswith(('"ID",', "ID,")) and "Kernel Name" in line:
            if "Metric Name" in line:
                raise ConfigError(
                    f"{path} is the details page of an ncu report, which leaves out most metrics",
                    "import the report itself, or its raw page: ncu --import FILE --csv --page raw",
                )
            return RAW_PAGE
    return None


def read(context: ImportContext) -> Outcome:
    (item,) = context.items
    folder, progress = context.folder, context.progress
    from_report = item.kind == REPORT

    def extract() -> None:
        raw = folder / RAW
        _write_record(folder, *(export_report(item.source, raw) if from_report else read_raw_csv(raw, ())))

    if item.copy(folder / (NCU_REPORT if from_report else RAW), progress):
        progress.update(f"reading {item.source.name}", 0, 1, 0)
        item.attempt(extract)
    return outcome_of(context.items)


def _write_record(folder: Path, facts: NcuFacts, results: tuple[NcuResult, ...]) -> None:
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
    )
    write_capture(folder, record)


IMPORTER = Importer(
    kinds={REPORT: "ncu report", RAW_PAGE: "ncu raw page (CSV)"},
    recognise=recognise,
    read=read,
    record=NcuCapture,
    conflicting=lambda items: items if len(items) > 1 else (),
)
