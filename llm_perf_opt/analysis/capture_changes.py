"""Which kernels, operators and ranges differ most between two captures, and what a step of each takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from llm_perf_opt.records.capture_comparison import CaptureTable, PartChange, RateChange, TimeChange
from llm_perf_opt.records.device_timeline import DeviceTimeline, StepGroup

TOP = 20
PARTS = ("wall", "busy", "compute", "exposed_communication", "exposed_copy", "idle")
Kind = Literal["kernels", "operators on the device", "operators on the host", "ranges"]
Row = tuple[str | None, str, int, int]
"""(phase, name, calls, ns)."""
Lines = Sequence[DeviceTimeline]
"""Of the reports of one capture, which are added up."""


def part_changes(a: Lines, b: Lines) -> tuple[PartChange, ...]:
    """Parts of the wall time of all devices."""

    def total(lines: Lines, name: str) -> int:
        return sum(getattr(device, f"{name}_ns") for line in lines for device in line.devices)

    walls = total(a, "wall"), total(b, "wall")
    found = []
    for name in PARTS:
        one, other = total(a, name), total(b, name)
        shares = _share(one, walls[0]), _share(other, walls[1])
        found.append(PartChange(name=name, time_ns_a=one, time_ns_b=other, share_a=shares[0], share_b=shares[1]))
    return tuple(found)


def rate_changes(a: Lines, b: Lines) -> tuple[RateChange, ...]:
    """Steps of the kinds that both have, on the host's clock; of several devices and reports the first."""
    groups_a, groups_b = _steps(a), _steps(b)
    return tuple(
        RateChange(
            name=name,
            steps_a=one.steps,
            steps_b=groups_b[name].steps,
            median_ns_a=one.median_ns,
            median_ns_b=groups_b[name].median_ns,
            mean_ns_a=one.mean_ns,
            mean_ns_b=groups_b[name].mean_ns,
            change_percent=(groups_b[name].mean_ns / one.mean_ns - 1) * 100 if one.mean_ns else None,
        )
        for name, one in groups_a.items()
        if name in groups_b
    )


def _steps(lines: Lines) -> dict[str, StepGroup]:
    return {row.name: row for line in reversed(lines) for row in reversed(line.steps)}


def table_changes(a: Lines, b: Lines, *, short: bool) -> tuple[CaptureTable, ...]:
    """The tables that both have rows of.

    Args:
        short: kernels go by their short names, as captures of different tools spell them differently.
    """

    def kernels(lines: Lines) -> Iterable[Row]:
        return (
            (row.phase, row.short_name if short else row.name, row.calls, row.total_ns)
            for line in lines
            for row in line.kernels
        )

    def on_device(lines: Lines) -> Iterable[Row]:
        return ((row.phase, row.name, row.calls, row.device_ns) for line in lines for row in line.operators)

    def on_host(lines: Lines) -> Iterable[Row]:
        return ((row.phase, row.name, row.calls, row.self_host_ns) for line in lines for row in line.operators)

    def ranges(lines: Lines) -> Iterable[Row]:
        return (
            (None, row.name if row.domain is None else f"{row.domain}: {row.name}", row.occurrences, row.kernel_ns)
            for line in lines
            for row in line.ranges
        )

    kinds: tuple[tuple[Kind, Callable[[Lines], Iterable[Row]]], ...] = (
        ("kernels", kernels),
        ("operators on the device", on_device),
        ("operators on the host", on_host),
        ("ranges", ranges),
    )
    found = (_table(kind, list(rows(a)), list(rows(b)), short and kind == "kernels") for kind, rows in kinds)
    return tuple(table for table in found if table is not None)


def _table(kind: Kind, a: list[Row], b: list[Row], short: bool) -> CaptureTable | None:
    if not a or not b:
        return None
    one, other = _totals(a), _totals(b)
    # Ranges hold one another: a share of their sum would say nothing.
    wholes = (0, 0) if kind == "ranges" else tuple(sum(ns for _, ns in rows.values()) for rows in (one, other))
    changes = []
    for key in sorted({*one, *other}, key=lambda key: (key[0] or "", key[1])):
        (calls_a, ns_a), (calls_b, ns_b) = one.get(key, (0, 0)), other.get(key, (0, 0))
        changes.append(
            TimeChange(
                phase=key[0], name=key[1], calls_a=calls_a, calls_b=calls_b, time_ns_a=ns_a, time_ns_b=ns_b,
                share_a=_share(ns_a, wholes[0]), share_b=_share(ns_b, wholes[1]),
            )
        )  # fmt: skip
    changes = [change for change in changes if change.time_ns_a or change.time_ns_b]
    changes.sort(key=lambda change: -abs(change.change_ns))
    left = max(0, len(changes) - TOP)
    return CaptureTable(kind=kind, by_short_name=short, rows=tuple(changes[:TOP]), rows_left_out=left)


def _totals(rows: Iterable[Row]) -> dict[tuple[str | None, str], tuple[int, int]]:
    found: dict[tuple[str | None, str], tuple[int, int]] = {}
    for phase, name, calls, ns in rows:
        before = found.get((phase, name), (0, 0))
        found[phase, name] = (before[0] + calls, before[1] + ns)
    return found


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
