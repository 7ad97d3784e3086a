"""Peak memory of the child, phase by phase: of the process on the host, of torch's allocator on the GPU."""

from __future__ import annotations

import contextlib
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from llm_perf_opt.records.workload import Memory, MemoryPhase, PhaseMemory

TIMED: MemoryPhase = "timed repeats"
CLEAR_REFS = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")
RESET_PEAK = "5"
"""Written to `clear_refs`, sets the peak resident set to the current one (proc(5))."""


class MemoryWatch:
    """Takes the peak of each phase by resetting it where the phase begins; so phases must not overlap.

    Args:
        clear_refs, status: the kernel's files; tests give others.
    """

    def __init__(self, device: torch.device, *, clear_refs: Path = CLEAR_REFS, status: Path = STATUS) -> None:
        self._device = device if device.type == "cuda" else None
        self._clear_refs = clear_refs
        self._status = status
        self._host_reason: str | None = None
        self._phases: list[PhaseMemory] = []

    @contextlib.contextmanager
    def phase(self, name: MemoryPhase) -> Iterator[None]:
        """Measure what runs inside."""
        self.begin()
        yield
        self.end(name)

    def begin(self) -> None:
        """Start a phase: forget earlier peaks."""
        if self._device is not None:
            torch.cuda.reset_peak_memory_stats(self._device)
        try:
            self._clear_refs.write_text(RESET_PEAK)
        except OSError as error:
            self._host_reason = f"the peak resident set cannot be reset here: {error.strerror} ({self._clear_refs})"

    def end(self, name: MemoryPhase) -> None:
        """End the phase that `begin` started."""
        device_bytes = torch.cuda.max_memory_allocated(self._device) if self._device is not None else None
        self._phases.append(PhaseMemory(phase=name, host_bytes=self._host_peak(), device_bytes=device_bytes))

    def record(self) -> Memory:
        """The peaks so far; the headline is the timed repeats' on the device that the model runs on."""
        timed = next((phase for phase in self._phases if phase.phase == TIMED), None)
        if self._device is not None:
            peak, source = timed and timed.device_bytes, f"CUDA allocator, {TIMED}"
        elif timed is not None and timed.host_bytes is not None:
            peak, source = timed.host_bytes, f"resident set of the child, {TIMED}; libraries and weights included"
        else:
            peak, source = _process_peak(), "resident set of the child since its start, loading included"
        return Memory(
            peak_bytes=peak,
            source=source,
            reason="nothing was timed" if peak is None else None,
            phases=tuple(self._phases),
            host_reason=self._host_reason,
            device_reason=None if self._device is not None else "the model runs on the CPU",
        )

    def _host_peak(self) -> int | None:
        if self._host_reason is not None:
            return None
        peak = _status_bytes("VmHWM:", self._status)
        if peak is None:
            self._host_reason = f"{self._status} gives no VmHWM"
        return peak


def resident_bytes() -> int | None:
    """Resident set of this process; None where the system does not say."""
    return _status_bytes("VmRSS:", STATUS)


def peak_resident_bytes() -> int | None:
    """The largest resident set of this process since its peak was last reset; None where the system does not say."""
    return _status_bytes("VmHWM:", STATUS)


def _status_bytes(name: str, status: Path) -> int | None:
    try:
        lines = status.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), None)


def _process_peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
