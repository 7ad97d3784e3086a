"""Which operators and kernels changed most between two profiled samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from llm_perf_opt.records.comparison import SelfTimeChange
from llm_perf_opt.records.tables import KernelRow, OperatorRow

PHASES = ("prefill", "decode")
TOP = 10
"""Rows of each phase."""

_Totals = dict[tuple[str, str], tuple[int, int]]
"""(phase, name) → calls and self time, ns."""


def operator_changes(
    a: Sequence[OperatorRow], b: Sequence[OperatorRow], where: Literal["host", "device"]
) -> tuple[SelfTimeChange, ...]:
    """Operators by falling change of their self time on the host, or of the device time of what they launched; the
    first ten of each phase.

    Rows of one name are summed: one of the runs may have told them apart by input shapes.
    """

    def rows(run: Sequence[OperatorRow]) -> _Totals:
        times = ((row, row.self_cpu_ns if where == "host" else row.device_ns) for row in run)
        return _totals((row.phase, row.name, row.calls, ns) for row, ns in times)

    return _most(rows(a), rows(b))


def kernel_changes(a: Sequence[KernelRow], b: Sequence[KernelRow]) -> tuple[SelfTimeChange, ...]:
    """Kernels by falling change of their total time, the first ten of each phase."""

    def rows(run: Sequence[KernelRow]) -> _Totals:
        return _totals((row.phase, row.name, row.calls, row.total_ns) for row in run)

    return _most(rows(a), rows(b))


def _totals(rows: Iterable[tuple[str, str, int, int]]) -> _Totals:
    found: _Totals = {}
    for phase, name, calls, time_ns in rows:
        before = found.get((phase, name), (0, 0))
        found[phase, name] = (before[0] + calls, before[1] + time_ns)
    return found


def _most(a: _Totals, b: _Totals) -> tuple[SelfTimeChange, ...]:
    found: list[SelfTimeChange] = []
    for phase in PHASES:
        changes = [_change(key, a.get(key, (0, 0)), b.get(key, (0, 0))) for key in sorted({*a, *b}) if key[0] == phase]
        changed = [change for change in changes if change.change_ms != 0]
        found += sorted(changed, key=lambda change: (-abs(change.change_ms), change.name))[:TOP]
    return tuple(found)


def _change(key: tuple[str, str], a: tuple[int, int], b: tuple[int, int]) -> SelfTimeChange:
    return SelfTimeChange(
        phase=key[0], name=key[1], calls_a=a[0], calls_b=b[0], self_ms_a=a[1] / 1e6, self_ms_b=b[1] / 1e6
    )
