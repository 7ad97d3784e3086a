"""What ncu left: its results as a record, and its raw page."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from llm_perf_opt.artifacts.files import write_text, writing
from llm_perf_opt.artifacts.layout import FACTS
from llm_perf_opt.errors import StageError
from llm_perf_opt.formats.ncu_export import read_raw, read_results
from llm_perf_opt.records.tools import NcuCapture, NcuFacts, NcuResult

MOST_RESULTS = 200
"""Results in a record; the raw page has all."""


def read_export(file: Path, asked: Sequence[str]) -> tuple[NcuFacts, tuple[NcuResult, ...]]:
    """The facts of a raw export and its first results, with their values of the asked metrics and of the usual ones.

    Raises:
        StageError: it is no raw export.
    """
    try:
        with file.open(encoding="utf-8", errors="replace") as lines:
            facts = read_raw(lines)
        with file.open(encoding="utf-8", errors="replace") as lines:
            return facts, read_results(lines, asked, MOST_RESULTS)
    except csv.Error as error:
        raise StageError(f"the ncu export cannot be read: {error}", "export the report again") from error


def write_capture(directory: Path, record: NcuCapture) -> None:
    """Write the record of a capture."""
    write_text(directory / FACTS, record.model_dump_json(indent=2) + "\n")


def write_lines(target: Path, lines: Iterator[str]) -> None:
    first = next(lines)  # what is wrong with the report is found out before there is a file
    with writing(target), target.open("w", encoding="utf-8") as file:
        file.writelines(itertools.chain([first], lines))
