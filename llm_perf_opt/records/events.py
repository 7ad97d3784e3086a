"""Events of a profile as columns, from the live profiler or from a recorded trace; folded in `analysis.events`.

Columns, because a trace has millions of events: in arrays they take a tenth of the memory of objects.
"""

from __future__ import annotations

from array import array
from collections.abc import MutableSequence, Sequence
from dataclasses import dataclass, field


def _numbers() -> MutableSequence[int]:
    return array("q")


@dataclass
class HostEvents:
    """Operators, ranges and calls of the device's API; one element an event in every column."""

    names: Sequence[str]
    threads: Sequence[int]
    """Events of one thread nest."""
    starts_ns: Sequence[int]
    durations_ns: Sequence[int]
    operator_ids: Sequence[int] = field(default_factory=_numbers)
    """What `DeviceEvents.operator_ids` refers to; 0 for none. Empty where there are no device events."""
    launch_ids: Sequence[int] = field(default_factory=_numbers)
    """Likewise, of calls of the device's API."""
    shapes: Sequence[str] = ()
    """Input shapes, where operators are told apart by them; else empty."""


@dataclass
class DeviceEvents:
    """Kernels, copies and sets."""

    names: Sequence[str]
    durations_ns: Sequence[int]
    operator_ids: Sequence[int]
    """The operator that launched it; 0 where that is not recorded."""
    launch_ids: Sequence[int]
    """The call that launched it; 0 where that is not recorded."""


def is_device_api(category: str) -> bool:
    """Whether events of this category are calls of the device's API: `cuda_runtime` (ROCm's too), `cuda_driver`, …"""
    return category == "runtime" or category.endswith(("_runtime", "_driver"))
