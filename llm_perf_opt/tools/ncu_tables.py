"""Profiled launches in a CSV that ncu exported, whichever page it is of; values in base units."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

from llm_perf_opt.errors import StageError
from llm_perf_opt.records.kernels import Launch
from llm_perf_opt.tools.ncu_details import metric_name
from llm_perf_opt.tools.ncu_export import RawPage, csv_rows, number
from llm_perf_opt.tools.ncu_units import to_base

GPU_NAME = "device__attribute_display_name"
Wanted = Callable[[str], bool]
"""Whether a metric of this name is read at all; a raw page may have hundreds."""

_EXPECTED = "expected a CSV of ncu: --page raw --csv, or --page details --csv"


class ForeignTableError(StageError):
    """A readable file that is not one of ncu's."""


def read_launches(lines: Iterable[str], source: str, wanted: Wanted) -> Iterator[Launch]:
    """The launches of one export, in its order, each as soon as it is complete.

    Args:
        lines: text lines, read once; ncu's messages may stand before and between them.
        source: what the launches say they are from.

    Raises:
        StageError: the table is empty, or ends in the middle of a launch; those before it were yielded.
        ForeignTableError: there is no table of ncu in it.
    """
    stream = _from_header(iter(lines))
    header = next(stream, None)
    if header is None:
        raise ForeignTableError(f"{source} has no table of ncu in it", _EXPECTED)
    details = '"Metric Name"' in header or ",Metric Name," in header
    read = _details if details else _raw
    found = False
    for launch in read(itertools.chain([header], stream), source, wanted):
        found = True
        yield launch
    if not found:
        raise StageError(f"{source} has the header of a table and no launches", "profile again: nothing was profiled")


def _from_header(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if line.startswith(('"ID",', "ID,")):
            yield line
            break
    yield from (line for line in lines if not line.startswith("=="))


def _raw(lines: Iterable[str], source: str, wanted: Wanted) -> Iterator[Launch]:
    page = RawPage(lines, source)
    columns = [
        (name, index, to_base(page.units[index])) for name, index in page.metrics.items() if wanted(name)
    ]  # fmt: skip
    last_identity = max((index for name, index in page.columns.items() if name not in page.metrics), default=0)
    for row in page.rows():
        if len(row) <= last_identity:
            raise _cut_off(source, row[0])
        values = {
            name: value * factor
            for name, index, factor in columns
            if index < len(row) and (value := number(row[index])) is not None
        }
        yield _launch(lambda name, row=row: page.cell(row, name), page.result_name(row), source, values)  # type: ignore[misc]


def _details(lines: Iterable[str], source: str, wanted: Wanted) -> Iterator[Launch]:
    reader = csv_rows(lines, source)
    header = next(reader)
    columns = {name: index for index, name in enumerate(header)}
    value_at = columns.get("Metric Value")
    if value_at is None:
        raise ForeignTableError(f"{source} has no column Metric Value", _EXPECTED)
    item_at = columns.get("Body Item Label")
    section_at, name_at, unit_at = columns["Section Name"], columns["Metric Name"], columns["Metric Unit"]
    key_at = [columns[name] for name in ("Process ID", "ID") if name in columns]
    rows = (row for row in reader if row)
    for _, group in itertools.groupby(rows, key=lambda row: [row[at : at + 1] for at in key_at]):
        values: dict[str, float] = {}
        for row in group:
            if len(row) <= value_at:
                raise _cut_off(source, row[0])
            name = metric_name(row[section_at], row[item_at] if item_at is not None else "", row[name_at])
            value = number(row[value_at]) if name is not None and wanted(name) else None
            if name is not None and value is not None:
                values.setdefault(name, value * to_base(row[unit_at]))
        cells = row
        yield _launch(lambda name, cells=cells: _at(cells, columns.get(name)), None, source, values)  # type: ignore[misc]


def _at(row: list[str], index: int | None) -> str:
    return row[index] if index is not None and index < len(row) else ""


def _launch(cell: Callable[[str], str], kernel: str | None, source: str, metrics: dict[str, float]) -> Launch:
    return Launch(
        source=source,
        process_id=cell("Process ID"),
        id=cell("ID"),
        kernel=kernel if kernel is not None else cell("Kernel Name"),
        grid=cell("Grid Size"),
        block=cell("Block Size"),
        device=cell("Device"),
        compute_capability=cell("CC"),
        metrics=metrics,
        gpu=cell(GPU_NAME) or None,
    )


def _cut_off(source: str, launch: str) -> StageError:
    return StageError(f"{source} ends in the middle of launch {launch}", "export it again from its report")
