"""What ncu left: its results as a record, and its raw page."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from llm_perf_opt.artifacts.files import write_text, writing
from llm_perf_opt.artifacts.layout import FACTS
from llm_perf_opt.formats.ncu_csv import IDENTITY, raw_page
from llm_perf_opt.formats.ncu_details import details_page
from llm_perf_opt.formats.ncu_raw import RawPage, RawRow, read_results, text
from llm_perf_opt.formats.ncu_rep import read_report
from llm_perf_opt.opening import open_file
from llm_perf_opt.records.tools import NcuCapture, NcuFacts, NcuResult

MOST_RESULTS = 200
"""Results in a record; the raw page has all."""


def read_raw_csv(file: Path, asked: Sequence[str]) -> tuple[NcuFacts, tuple[NcuResult, ...]]:
    """The facts of a raw page and its first results, with their values of the asked metrics and of the usual ones.

    Raises:
        StageError: it is no raw page.
    """
    with io.TextIOWrapper(open_file(file), encoding="utf-8-sig", errors="replace", newline="") as lines:
        return read_results(raw_page(lines), asked, MOST_RESULTS)


def read_details_csv(file: Path) -> tuple[NcuFacts, tuple[NcuResult, ...]]:
    """The same of a details page, in base units, and what ncu's rules said.

    Raises:
        StageError: it is no details page.
    """
    with file.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        return read_results(details_page(lines), (), MOST_RESULTS)


def export_report(report: Path, target: Path) -> tuple[NcuFacts, tuple[NcuResult, ...]]:
    """Write the raw page of a report to `target`; its facts and first results.

    Raises:
        MissingError, StageError: the report cannot be read, or `target` cannot be written.
    """
    page = read_report(report)  # what is wrong with the report is found out before there is a file
    with writing(target), target.open("w", encoding="utf-8") as file:
        return read_results(copied(page, file), (), MOST_RESULTS)


def copied(page: RawPage, file: TextIO) -> RawPage:
    """The page, which is written to `file` as it is read, like `ncu --csv --page raw --print-units base` prints it."""
    writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")

    def rows() -> Iterator[RawRow]:
        writer.writerow([*IDENTITY, *page.metrics])
        writer.writerow([*[""] * len(IDENTITY), *page.units.values()])
        for row in page.rows:
            writer.writerow([*row.profiled, *map(text, row.cells)])
            yield row

    return dataclasses.replace(page, rows=rows())


def write_capture(directory: Path, record: NcuCapture) -> None:
    """Write the record of a capture."""
    write_text(directory / FACTS, record.model_dump_json(indent=2) + "\n")
