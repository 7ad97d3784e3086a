"""A report of ncu, or its raw page."""

from __future__ import annotations

from pathlib import Path

from llm_perf_opt.artifacts.layout import NCU_REPORT, RAW
from llm_perf_opt.captures.ncu import export_report, read_raw_csv, write_capture
from llm_perf_opt.errors import StageError
from llm_perf_opt.importing.item import Item, outcome_of
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.records.tools import NcuCapture, NcuFacts, NcuResult
from llm_perf_opt.stages.base import Progress


def import_ncu(items: list[Item], folder: Path, scratch: Path, progress: Progress) -> Outcome:
    (item,) = items
    is_report = item.kind == "ncu_report"

    def read() -> None:
        raw = folder / RAW
        _write_record(folder, *(export_report(item.source, raw) if is_report else read_raw_csv(raw, ())))

    if item.copy(folder / (NCU_REPORT if is_report else RAW), progress):
        progress.update(f"reading {item.source.name}", 0, 1, 0)
        item.attempt(read)
    return outcome_of(items)


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
