"""The page of a run with its gallery and tables as one file to send."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from llm_perf_opt.artifacts.files import temporary_name, writing
from llm_perf_opt.artifacts.layout import METRICS, PREDICTIONS, REPORT, REPORT_HTML, SUMMARY
from llm_perf_opt.records.tables import KernelRow, OperatorRow, ProfileTables
from llm_perf_opt.records.tools import KernelTime, NsysCapture
from llm_perf_opt.reports.facts import RunFacts

_WRITTEN = (1980, 1, 1, 0, 0, 0)
"""The time of every file in it, so that the same run gives the same bundle."""


def write_bundle(facts: RunFacts, reports: Path, target: Path) -> None:
    """Write the reports in the folder `reports`, the pages of stages, galleries, predictions and tables into `target`.

    Raises:
        MissingError, StageError: it cannot be written.
    """
    temporary = target.with_name(temporary_name(target.name))
    with writing(target):
        try:
            with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as bundle:
                for name, file in sorted(_files(facts, reports).items()):
                    bundle.writestr(_entry(f"{facts.path.name}/{name}"), file.read_bytes(), zipfile.ZIP_DEFLATED)
                for name, text in _tables(facts):
                    bundle.writestr(_entry(f"{facts.path.name}/{name}"), text, zipfile.ZIP_DEFLATED)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _WRITTEN)
    entry.external_attr = 0o644 << 16
    return entry


def _files(facts: RunFacts, reports: Path) -> dict[str, Path]:
    """What is in it as it is, by its name there."""
    found = {name: reports / name for name in (REPORT_HTML, REPORT, SUMMARY)}
    for stage in facts.manifest.stages:
        folder = facts.path / stage
        found |= {f"{stage}/{file.name}": file for file in (*folder.glob("*.md"), folder / METRICS)}
    for measured in facts.measured.values():
        if measured.gallery is not None:
            found |= _below(facts.path, (facts.path / measured.gallery).parent.rglob("*"))
    found |= _below(facts.path, facts.path.glob(f"*/*/{PREDICTIONS}"))
    return {name: file for name, file in found.items() if file.is_file() and not file.is_symlink()}


def _below(run: Path, files: Iterable[Path]) -> dict[str, Path]:
    return {file.relative_to(run).as_posix(): file for file in files}


def _tables(facts: RunFacts) -> Iterator[tuple[str, str]]:
    """Tables for a spreadsheet: the figures of every operator and kernel."""
    for place, tables in facts.all(ProfileTables):
        operators, kernels = ([field.name for field in fields(kind)] for kind in (OperatorRow, KernelRow))
        yield f"{place.stage}/operators.csv", _csv(operators, map(asdict, tables.operators))
        yield f"{place.stage}/kernels.csv", _csv(kernels, map(asdict, tables.kernels))
    for place, capture in facts.all(NsysCapture):
        rows = (row.model_dump(mode="json") for row in capture.kernels)
        yield f"{place.stage}/kernels.csv", _csv(list(KernelTime.model_fields), rows)


def _csv(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        # A spreadsheet would run a text that begins like a formula.
        writer.writerow({name: _inert(value) for name, value in row.items()})
    return text.getvalue()


def _inert(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
