"""Reading time where the work is done.

A mark is put into the device's queue and read only after `synchronize`; on the CPU, where an operator has
finished when it returns, a mark is the host's clock. All host reads of the loop go through here too, so that a test
can put a simulated device in its place.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TypeVar

import torch

MarkT = TypeVar("MarkT")


class Clock(Protocol[MarkT]):
    """Marks of one device, and the host's clock beside it."""

    def now(self) -> float:
        """The host's monotonic clock, seconds."""

    def mark(self) -> MarkT:
        """Put a mark behind all work queued so far; never waits for it."""

    def synchronize(self) -> None:
        """Wait until all queued work, marks included, is done; of a sharded model, on every rank."""

    def read(self, values: torch.Tensor) -> list[int]:
        """The content of the one-dimensional `values` on the host; waits until it is computed."""

    def elapsed_ms(self, start: MarkT, end: MarkT) -> float:
        """Milliseconds between two marks; both must be done."""


def _nobody_else() -> None:
    """There is one process."""


class HostClock:
    """The host's monotonic clock, for work that is done when the call returns."""

    def __init__(self, others: Callable[[], None] = _nobody_else) -> None:
        self._wait_for_others = others

    def now(self) -> float:
        return time.perf_counter()

    def mark(self) -> int:
        return time.perf_counter_ns()

    def synchronize(self) -> None:
        self._wait_for_others()

    def read(self, values: torch.Tensor) -> list[int]:
        found: list[int] = values.tolist()
        return found

    def elapsed_ms(self, start: int, end: int) -> float:
        return (end - start) / 1e6


class CudaClock:
    """CUDA events on the current stream of one device."""

    def __init__(self, device: torch.device, others: Callable[[], None] = _nobody_else) -> None:
        self._device = device
        self._wait_for_others = others

    def now(self) -> float:
        return time.perf_counter()

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event

    def synchronize(self) -> None:
        self._wait_for_others()
        torch.cuda.synchronize(self._device)

    def read(self, values: torch.Tensor) -> list[int]:
        found: list[int] = values.tolist()
        return found

    def elapsed_ms(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        return float(start.elapsed_time(end))


def clock_for(device: torch.device, others: Callable[[], None] | None = None) -> HostClock | CudaClock:
    """The clock of a device.

    Args:
        others: waits for the other ranks; None: there are none.
    """
    wait = others or _nobody_else
    return CudaClock(device, wait) if device.type == "cuda" else HostClock(wait)
