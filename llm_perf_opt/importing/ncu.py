"""A report of ncu, or its raw page."""

from __future__ import annotations

from pathlib import Path

from llm_perf_opt.artifacts.layout import NCU_REPORT, RAW
from llm_perf_opt.captures.ncu import read_export, write_capture, write_lines
from llm_perf_opt.errors import StageError
from llm_perf_opt.formats.ncu_rep import raw_csv_lines
from llm_perf_opt.importing.item import Item, outcome_of
from llm_perf_opt.records.outcome import Outcome
from llm_perf_opt.records.tools import NcuCapture
from llm_perf_opt.stages.base import Progress


def import_ncu(items: list[Item], folder: Path, scratch: Path, progress: Progress) -> Outcome:
    (item,) = items
    is_report = item.kind == "ncu_report"

    def read() -> None:
        if is_report:
            write_lines(folder / RAW, raw_csv_lines(item.source))
        _write_record(folder)

    if item.copy(folder / (NCU_REPORT if is_report else RAW), progress):
        progress.update(f"reading {item.source.name}", 0, 1, 0)
        item.attempt(read)
    return outcome_of(items)


def _write_record(folder: Path) -> None:
    facts, results = read_export(folder / RAW, ())
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
