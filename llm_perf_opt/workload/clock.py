"""Reading time where the work is done.

A mark is put into the device's queue and read only after `synchronize`; on the CPU, where an operator has
finished when it returns, a mark is the host's clock.
"""

from __future__ import annotations

import time
from typing import Protocol, TypeVar

import torch

MarkT = TypeVar("MarkT")


class Clock(Protocol[MarkT]):
    """Marks of one device."""

    def mark(self) -> MarkT:
        """Put a mark behind all work queued so far; never waits for it."""

    def synchronize(self) -> None:
        """Wait until all queued work, marks included, is done."""

    def elapsed_ms(self, start: MarkT, end: MarkT) -> float:
        """Milliseconds between two marks; both must be done."""


class HostClock:
    """The host's monotonic clock, for work that is done when the call returns."""

    def mark(self) -> int:
        return time.perf_counter_ns()

    def synchronize(self) -> None:
        return None

    def elapsed_ms(self, start: int, end: int) -> float:
        return (end - start) / 1e6


class CudaClock:
    """CUDA events on the current stream of one device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event

    def synchronize(self) -> None:
        torch.cuda.synchronize(self._device)

    def elapsed_ms(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        return float(start.elapsed_time(end))


def clock_for(device: torch.device) -> HostClock | CudaClock:
    return CudaClock(device) if device.type == "cuda" else HostClock()
