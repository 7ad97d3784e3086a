"""The time lines of several ranks as one record: devices side by side, tables of names added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from llm_perf_opt.analysis.timeline.answer import answer
from llm_perf_opt.analysis.timeline.breakdown import CAUSES, PARTS
from llm_perf_opt.analysis.timeline.devices import LONGEST_GAPS, MOST_DOINGS
from llm_perf_opt.analysis.timeline.summary import MOST_KERNELS, MOST_OPERATORS, MOST_RANGES
from llm_perf_opt.records.base import Record
from llm_perf_opt.records.device_timeline import (
    CategoryTime,
    CopyTime,
    CounterMeans,
    DeviceTime,
    DeviceTimeline,
    FileNote,
    Gap,
    GraphCounts,
    HostDoing,
    KernelTime,
    OperatorTime,
    PhaseTime,
    RangeTime,
    RankTime,
    StepGroup,
)
from llm_perf_opt.records.ranks import RankComparison, RankSkew

T = TypeVar("T", bound=Record)
D = TypeVar("D", PhaseTime, StepGroup, Gap, CategoryTime, CopyTime, CounterMeans)


def joined(
    lines: Sequence[DeviceTimeline],
    ranks_of: Sequence[Sequence[int | None]],
    skews: Sequence[RankSkew],
    comparison: RankComparison,
) -> DeviceTimeline:
    """One record of several files.

    Args:
        lines: of each file.
        ranks_of: the rank of each device of each file.
        skews: of each rank; ranks without a device are not among them.
    """
    counts = [max((device.device + 1 for device in line.devices), default=0) for line in lines]
    firsts = [sum(counts[:number]) for number in range(len(lines))]
    devices = [
        device.model_copy(update={"device": first + device.device, "rank": rank})
        for line, first, ranks in zip(lines, firsts, ranks_of, strict=True)
        for device, rank in zip(line.devices, ranks, strict=True)
    ]

    def moved(tables: Iterable[Iterable[D]]) -> list[D]:
        return [
            row.model_copy(update=_device(row.device, first))
            for table, first in zip(tables, firsts, strict=True)
            for row in table
        ]

    waited = _added([line.waited_for for line in lines], lambda row: row.name, _add_waits)
    waited = sorted(waited, key=lambda row: (-row.total_ns, row.name))[:MOST_DOINGS]
    gaps = sorted(moved(line.gaps for line in lines), key=lambda row: (-row.duration_ns, row.device, row.start_ns))
    kernels = sorted(
        _added([line.kernels for line in lines], lambda row: (row.phase, row.name), _add_kernels),
        key=lambda row: (-row.total_ns, row.phase, row.name),
    )
    operators = sorted(
        _added([line.operators for line in lines], lambda row: (row.phase, row.name, row.input_shapes), _add_operators),
        key=lambda row: (-row.device_ns, -row.self_host_ns, row.phase, row.name, row.input_shapes),
    )
    ranges = sorted(
        _added([line.ranges for line in lines], lambda row: (row.domain, row.name), _add_ranges),
        key=lambda row: (-row.kernel_ns, -row.host_ns, row.name, row.domain or ""),
    )
    host: Counter[str] = Counter()
    for line in lines:
        host.update(line.phase_host_ns)
    facts = lines[0].facts.model_copy(update={"rank": None, "world_size": comparison.world_size})
    return DeviceTimeline(
        source=lines[0].source if len(lines) == 1 else f"{lines[0].source} and {len(lines) - 1} more",
        answer=answer(devices, waited),
        facts=facts,
        devices=tuple(devices),
        phases=tuple(moved(line.phases for line in lines)),
        phase_host_ns=dict(host),
        steps=tuple(moved(line.steps for line in lines)),
        counters=tuple(moved(line.counters for line in lines)),
        gaps=tuple(gaps[:LONGEST_GAPS]),
        waited_for=tuple(waited),
        categories=tuple(moved(line.categories for line in lines)),
        copies=tuple(moved(line.copies for line in lines)),
        kernels=tuple(kernels[:MOST_KERNELS]),
        kernels_left_out=max(0, len(kernels) - MOST_KERNELS) + sum(line.kernels_left_out for line in lines),
        operators=tuple(operators[:MOST_OPERATORS]),
        operators_left_out=max(0, len(operators) - MOST_OPERATORS) + sum(line.operators_left_out for line in lines),
        ranges=tuple(ranges[:MOST_RANGES]),
        ranges_left_out=max(0, len(ranges) - MOST_RANGES) + sum(line.ranges_left_out for line in lines),
        attributed_device_ns=sum(line.attributed_device_ns for line in lines),
        unattributed=tuple(_added([line.unattributed for line in lines], lambda row: row.reason, _add_counted)),
        distrusted=tuple(_added([line.distrusted for line in lines], lambda row: row.reason, _add_counted)),
        graphs=_graphs([line.graphs for line in lines]),
        notes=tuple(_added([line.notes for line in lines], lambda row: row.text, _add_notes)),
        ranks=tuple(_rank(skew, devices) for skew in skews),
        rank_comparison=comparison,
    )


def _device(device: int | None, first: int) -> dict[str, int]:
    return {} if device is None else {"device": first + device}


def _rank(skew: RankSkew, devices: Sequence[DeviceTime]) -> RankTime:
    mine = [device for device in devices if device.rank == skew.rank]
    causes = {cause: sum(device.idle_by_cause[cause] for device in mine) for cause in CAUSES}
    parts = {f"{name}_ns": sum(getattr(device, f"{name}_ns") for device in mine) for name in PARTS}
    return RankTime.model_validate(
        {**skew.model_dump(), **parts, "idle_by_cause": causes, "devices": [device.device for device in mine]}
    )


def _added(tables: Iterable[Iterable[T]], key: Callable[[T], object], add: Callable[[T, T], T]) -> list[T]:
    """The rows of all tables, those of one key added up."""
    found: dict[object, T] = {}
    for table in tables:
        for row in table:
            at = key(row)
            found[at] = add(found[at], row) if at in found else row
    return list(found.values())


def _sum(one: T, other: T, *fields: str) -> T:
    return one.model_copy(update={field: getattr(one, field) + getattr(other, field) for field in fields})


def _add_waits(one: HostDoing, other: HostDoing) -> HostDoing:
    return _sum(one, other, "total_ns")


def _add_kernels(one: KernelTime, other: KernelTime) -> KernelTime:
    return _sum(one, other, "calls", "total_ns").model_copy(update={"max_ns": max(one.max_ns, other.max_ns)})


def _add_operators(one: OperatorTime, other: OperatorTime) -> OperatorTime:
    return _sum(one, other, "calls", "self_host_ns", "total_host_ns", "device_ns")


def _add_ranges(one: RangeTime, other: RangeTime) -> RangeTime:
    return _sum(one, other, "occurrences", "host_ns", "kernels", "kernel_ns", "own_kernel_ns")


def _add_counted(one: T, other: T) -> T:
    return _sum(one, other, "count", "total_ns")


def _add_notes(one: FileNote, other: FileNote) -> FileNote:
    return _sum(one, other, "count")


def _graphs(counts: Sequence[GraphCounts]) -> GraphCounts:
    found = counts[0]
    for count in counts[1:]:
        found = _sum(found, count, "whole", "kernels").model_copy(
            update={
                name: None if getattr(found, name) is None or getattr(count, name) is None
                else getattr(found, name) + getattr(count, name)
                for name in ("joined", "abstained")
            }
        )  # fmt: skip
    return found
