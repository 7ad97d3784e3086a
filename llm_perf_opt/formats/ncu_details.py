"""The details page of ncu as CSV (`--csv`, with `--page details` or no page): one row a metric, under display names.

Rows are shorter than the header unless they carry a rule's message. The display names of sections are turned into the
names of the metrics behind them, so that both pages read the same; docs/nsight/kernels.md says where the pairs are
from.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from llm_perf_opt.errors import StageError
from llm_perf_opt.formats.ncu_csv import Table, profiled_in, tables, two_rows
from llm_perf_opt.formats.ncu_raw import MisspeltError, Profiled, RawPage, RawRow, number, share
from llm_perf_opt.formats.ncu_units import base_name, to_base
from llm_perf_opt.records.kernels import RuleResult

_FP = "sass_thread_inst_executed_op_"
_SOL = "GPU Speed Of Light Throughput"
_MEMORY = "Memory Workload Analysis"
_ROOFLINE = "GPU Speed Of Light Roofline Chart"
_STALLS = "Warp State Statistics"
_STALLED = "smsp__average_warps_issue_stalled_{}_per_issue_active.ratio"

COMMAND_LINE = "Command line profiler metrics"
"""Section whose metrics have their own names already."""

_PLAIN = {
    _SOL: {
        "Duration": "gpu__time_duration.sum",
        "Compute (SM) Throughput": "sm__throughput.avg.pct_of_peak_sustained_elapsed",
        "Memory Throughput": "gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed",
        "DRAM Throughput": "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed",
        "L1/TEX Cache Throughput": "l1tex__throughput.avg.pct_of_peak_sustained_active",
        "L2 Cache Throughput": "lts__throughput.avg.pct_of_peak_sustained_elapsed",
    },
    _MEMORY: {
        "Memory Throughput": "dram__bytes.sum.per_second",
        "Mem Busy": "gpu__compute_memory_access_throughput.avg.pct_of_peak_sustained_elapsed",
        "Max Bandwidth": "gpu__compute_memory_request_throughput.avg.pct_of_peak_sustained_elapsed",
        "L1/TEX Hit Rate": "l1tex__t_sector_hit_rate.pct",
        "L2 Hit Rate": "lts__t_sector_hit_rate.pct",
    },
    "Occupancy": {
        "Theoretical Occupancy": "sm__maximum_warps_per_active_cycle_pct",
        "Achieved Occupancy": "sm__warps_active.avg.pct_of_peak_sustained_active",
        "Block Limit SM": "launch__occupancy_limit_blocks",
        "Block Limit Registers": "launch__occupancy_limit_registers",
        "Block Limit Shared Mem": "launch__occupancy_limit_shared_mem",
        "Block Limit Warps": "launch__occupancy_limit_warps",
        "Block Limit Barriers": "launch__occupancy_limit_barriers",
    },
    "Launch Statistics": {
        "Waves Per SM": "launch__waves_per_multiprocessor",
        "Grid Size": "launch__grid_size",
        "# SMs": "launch__sm_count",
    },
    _ROOFLINE: {
        f"Predicated-On {op} Thread Instructions Executed Per Cycle": (
            f"smsp__{_FP}{op.lower()}_pred_on.sum.per_cycle_elapsed"
        )
        for op in ("FADD", "FMUL", "FFMA", "DADD", "DMUL", "DFMA")
    }
    | {
        f"Theoretical Predicated-On {op} Thread Instructions Executed": (
            f"sm__{_FP}{op.lower()}_pred_on.sum.peak_sustained"
        )
        for op in ("FFMA", "DFMA")
    }
    | {
        "Theoretical DRAM Bytes Accessible": "dram__bytes.sum.peak_sustained",
        "DRAM Frequency": "dram__cycles_elapsed.avg.per_second",
        "DRAM Bandwidth": "dram__bytes.sum.per_second",
    },
}  # fmt: skip

# In the roofline section one display name stands for two metrics, told apart by the item it belongs to.
_BY_ITEM = {
    (_ROOFLINE, "Single Precision Roofline", "SM Frequency"): "sm__cycles_elapsed.avg.per_second",
    (_ROOFLINE, "Double Precision Roofline", "SM Frequency"): "sm__cycles_elapsed.avg.per_second",
    (_ROOFLINE, "Single Precision Achieved Value", "SM Frequency"): "smsp__cycles_elapsed.avg.per_second",
    (_ROOFLINE, "Double Precision Achieved Value", "SM Frequency"): "smsp__cycles_elapsed.avg.per_second",
}


def metric_name(section: str, item: str, shown: str) -> str | None:
    """The metric behind a display name; None for those that nothing here uses.

    Args:
        section: "Section Name" of the row.
        item: "Body Item Label"; empty where the page has no such column.
        shown: "Metric Name".
    """
    if section == COMMAND_LINE:
        return shown
    if section == _STALLS and (shown.startswith("Stall ") or shown == "Selected"):
        return _STALLED.format(shown.removeprefix("Stall ").lower().replace(" ", "_"))
    return _BY_ITEM.get((section, item, shown)) or _PLAIN.get(section, {}).get(shown)


@dataclass
class DetailsLaunch:
    """What a details page says of one launch."""

    profiled: Profiled
    line: int
    """The first of it."""
    values: dict[str, float | None] = field(default_factory=dict)
    """Metric → value in base units; None where the page has `n/a`."""
    units: dict[str, str] = field(default_factory=dict)
    """Base units, of the same metrics."""
    rules: list[RuleResult] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


class NoDetailsError(StageError):
    """A table without the columns of a details page."""


_COLUMNS = ("Section Name", "Metric Name", "Metric Unit", "Metric Value")
_RULE = ("Rule Name", "Rule Type", "Rule Description", "Estimated Speedup Type", "Estimated Speedup")


def is_details(header: Sequence[str]) -> bool:
    return "Metric Name" in header


def details_launches(table: Table, called: str, wanted: Callable[[str], bool]) -> Iterator[DetailsLaunch]:
    """The launches of one table, each as soon as it is complete; a repetition is left out.

    Args:
        wanted: whether a metric of this name is read.

    Raises:
        NoDetailsError: it has not the columns.
        StageError: it ends in the middle of a launch, or says two things of one; those before it were yielded.
    """
    absent = [name for name in _COLUMNS if name not in table.header]
    if absent:
        raise NoDetailsError(f"{called} has no column {absent[0]}")
    columns = {name: index for index, name in enumerate(table.header)}
    profiled = profiled_in(columns)
    key_at = [columns[name] for name in ("Host Name", "Process ID", "ID") if name in columns]
    seen: dict[tuple[str, ...], tuple[int, int]] = {}
    for _, group in itertools.groupby(table.rows, key=lambda row: tuple(_cell(row[1], at) for at in key_at)):
        rows = list(group)
        first, cells = rows[0]
        launch = DetailsLaunch(profiled(cells), first)
        _read_rows(launch, rows, columns, called, wanted)
        key = (*(_cell(cells, at) for at in key_at), launch.profiled.name)
        content = hash((tuple(launch.values.items()), tuple(rule.message for rule in launch.rules)))
        line, before = seen.setdefault(key, (first, content))
        if before != content:
            raise two_rows(first, launch.profiled, line)
        if line == first:
            yield launch


def _read_rows(
    launch: DetailsLaunch,
    rows: Iterable[tuple[int, list[str]]],
    columns: dict[str, int],
    called: str,
    wanted: Callable[[str], bool],
) -> None:
    section_at, name_at, unit_at, value_at = needed = [columns[name] for name in _COLUMNS]
    item_at, rule_at = columns.get("Body Item Label", -1), [columns.get(name, -1) for name in _RULE]
    said: dict[tuple[str, str, str], tuple[str, int]] = {}
    for line, row in rows:
        if len(row) <= max(needed):
            raise cut_off(called, row[0])
        rule = _rule(row[section_at], [_cell(row, at) for at in rule_at], line)
        if rule is not None and rule not in launch.rules:
            launch.rules.append(rule)
        item, shown, text = _cell(row, item_at), row[name_at], row[value_at]
        name = metric_name(row[section_at], item, shown)
        if name is None or not wanted(name):
            continue
        before, first = said.setdefault((row[section_at], item, shown), (text, line))
        if before != text:
            raise two_rows(line, launch.profiled, first)
        _add(launch, name, row[unit_at], text, line)


def _add(launch: DetailsLaunch, name: str, unit: str, text: str, line: int) -> None:
    value = _number(text, line)
    if name not in launch.values or launch.values[name] is None:
        launch.units[name] = base_name(unit)
        scaled = None if value is None else value * to_base(unit)
        launch.values[name] = share(name, unit, scaled, f"line {line}", launch.remarks)


def _number(text: str, line: int) -> float | None:
    try:
        return number(text)
    except MisspeltError as error:
        raise error.at(f"line {line}") from None


def _cell(row: Sequence[str], at: int) -> str:
    return row[at] if 0 <= at < len(row) else ""


def _rule(section: str, cells: Sequence[str], line: int) -> RuleResult | None:
    name, kind, message, speedup_kind, speedup = cells
    if not name:
        return None
    return RuleResult(
        section=section,
        name=name,
        kind=kind,
        message=message,
        speedup_kind="local" if speedup_kind == "local" else "global" if speedup_kind == "global" else None,
        speedup_pct=_number(speedup, line),
    )


def cut_off(called: str, launch: str) -> StageError:
    return StageError(f"{called} ends in the middle of launch {launch}", "export it again from its report")


def details_page(lines: Iterable[str], called: str = "the ncu export") -> RawPage:
    """The launches of a details page as rows of a raw page, in base units.

    Raises:
        StageError: it is no details page, or a broken one.
    """
    launches = [
        launch for table in tables(lines, called) for launch in details_launches(table, called, lambda name: True)
    ]
    units = {name: unit for launch in launches for name, unit in launch.units.items()}
    rows = (
        RawRow(
            launch.profiled,
            [launch.values.get(name) for name in units],
            line=launch.line,
            rules=tuple(launch.rules),
        )
        for launch in launches
    )
    return RawPage(metrics={name: at for at, name in enumerate(units)}, units=units, rows=rows)
