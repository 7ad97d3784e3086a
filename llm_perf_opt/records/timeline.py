"""Where a GPU's time went, by the ranges of the host that launched the work."""

from __future__ import annotations

from typing import NamedTuple

from llm_perf_opt.records.base import Record


class DeviceWork(NamedTuple):
    """One kernel, or one CUDA graph that was traced whole."""

    start_ns: int
    end_ns: int
    name: str
    thread: int | None
    """That launched it; None where the launch was not recorded."""
    launched_ns: int
    """When its launch was called; 0 without one."""


class RangeSpan(NamedTuple):
    """One occurrence of a push/pop range."""

    thread: int
    start_ns: int
    end_ns: int | None
    """None where it was still open when the capture ended."""
    name: str
    domain: str | None
    """None is the default domain."""


class RangeWork(Record):
    """All occurrences of one range, and what was launched within them."""

    name: str
    domain: str | None
    occurrences: int
    kernels: int
    """Launched within it, in ranges inside it too."""
    kernel_ns: int
    """Their durations added up."""
    own_kernel_ns: int
    """Of these, the ones launched in no range inside it: over all ranges these and the unattributed time add up to the
    total."""
    span_ns: int
    """For each occurrence, not inside one of the same name, from the start of its first kernel to the end of its last,
    added up."""
    busy_ns: int
    """Of the span, while at least one of its kernels ran (the union over streams)."""

    @property
    def idle_ns(self) -> int:
        """Of the span, while none of its kernels ran."""
        return self.span_ns - self.busy_ns


class DeviceBusy(Record):
    """One GPU over the whole capture."""

    device: int
    activities: int
    """Kernels, graphs, copies and sets."""
    activity_ns: int
    """Their durations added up, over all streams."""
    copy_ns: int
    """Of these, those of copies and sets."""
    busy_ns: int
    """While at least one of them ran: the union over streams."""
    span_ns: int
    """From the start of the first to the end of the last."""

    @property
    def idle_ns(self) -> int:
        return self.span_ns - self.busy_ns


class PhaseKernel(Record):
    """All launches of one kernel in one phase."""

    phase: str
    """Innermost of warmup, prefill and decode around the launch, or `outside`."""
    name: str
    kernels: int
    total_ns: int
    max_ns: int


class Timeline(Record):
    """One report's device time: which ranges it belongs to, and when the device was idle."""

    devices: tuple[DeviceBusy, ...]
    kernels: int
    kernel_ns: int
    """Durations of all kernels added up."""
    ranges: tuple[RangeWork, ...]
    """Those with kernels, longest kernel time first; see `ranges_left_out`."""
    ranges_left_out: int
    left_out_own_kernel_ns: int
    """Own kernel time of the ranges that were left out."""
    unattributed_kernels: int
    """Launched in no range."""
    unattributed_ns: int
    without_launch: int
    """Of the unattributed kernels, those whose launch was not recorded (it lies before the capture)."""
    phase_kernels: tuple[PhaseKernel, ...]
    """Longest total time first; see `phase_kernels_left_out`."""
    phase_kernels_left_out: int
