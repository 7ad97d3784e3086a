"""What a profile will take, told from two short ones, and as many decode steps as there is room for.

Every decode step adds the same number of events, bytes of the trace and bytes of host memory.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llm_perf_opt.errors import StageError
from llm_perf_opt.records.workload import ProfileSize
from llm_perf_opt.workload.memory import CLEAR_REFS, RESET_PEAK, peak_resident_bytes, resident_bytes

PROBE_STEPS = (1, 4, 12)
"""Decode steps of the short profiles; the first pays for what is loaded on first use, and is not used."""
UNPROBED_STEPS = 16
"""So many decode steps are profiled without asking: they take some ten megabytes, stacks of Python aside."""
MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class Probe:
    """Two short profiles of different length."""

    first: ProfileSize
    second: ProfileSize

    @property
    def ended(self) -> bool:
        """The text ended within them: there is nothing to extrapolate."""
        return self.second.steps <= self.first.steps

    def of(self, steps: int) -> ProfileSize:
        """What a profile of so many decode steps takes."""
        if self.ended:
            return self.second
        held = self.first.host_bytes, self.second.host_bytes
        return ProfileSize(
            steps=steps,
            events=round(self._line(self.first.events, self.second.events, steps)),
            trace_bytes=round(self._line(self.first.trace_bytes, self.second.trace_bytes, steps)),
            host_bytes=None if held[0] is None or held[1] is None else round(self._line(held[0], held[1], steps)),
        )

    def _line(self, first: float, second: float, steps: int) -> float:
        each = (second - first) / (self.second.steps - self.first.steps)
        return second + (steps - self.second.steps) * max(each, 0.0)

    def most_steps(self, wanted: int, max_bytes: int, free_bytes: int | None) -> tuple[int, str | None]:
        """As many of the `wanted` steps as there is room for, and why they are not all.

        Args:
            max_bytes: that the profile may leave on disk.
            free_bytes: of host memory; None where it is not known.

        Raises:
            StageError: there is not even room for one step.
        """

        def over(steps: int) -> str | None:
            size = self.of(steps)
            if size.trace_bytes > max_bytes:
                return f"artifacts.max_bytes: {max_bytes:,}"
            if free_bytes is not None and size.host_bytes is not None and size.host_bytes > free_bytes:
                return f"{free_bytes:,} bytes of free host memory"
            return None

        limit = over(wanted)
        if limit is None:
            return wanted, None
        whole = self.of(wanted)
        host = "" if whole.host_bytes is None else f" and {whole.host_bytes:,} bytes of host memory"
        would = f"would take {whole.trace_bytes:,} bytes of trace{host}"
        if (first := over(1)) is not None:
            raise StageError(
                f"a profile of prefill and one decode step does not fit {first}: of {wanted:,} steps it {would}",
                "raise artifacts.max_bytes, shorten the prompt, or turn off with_stack and record_shapes",
            )
        # The sizes grow with the steps: the last that fits is found by halving.
        fits, exceeds = 1, wanted
        while exceeds - fits > 1:
            middle = (fits + exceeds) // 2
            if over(middle) is None:
                fits = middle
            else:
                exceeds = middle
        return fits, f"shortened from {wanted:,} to {fits:,} decode steps, which fit {limit}; the whole {would}"


class HostMemory:
    """The most that the process came to hold beyond what it held before."""

    def __init__(self) -> None:
        self.bytes: int | None = None
        self._before: int | None = None

    def begin(self) -> None:
        """Give back what is free, so that what is taken next is seen."""
        gc.collect()
        _give_back()
        self._before = resident_bytes()

    def forget_peak(self) -> None:
        """The model has run: what its operators held for a moment is not the profile's."""
        _give_back()
        try:
            CLEAR_REFS.write_text(RESET_PEAK)
        except OSError:
            self._before = None

    @contextmanager
    def rest(self) -> Iterator[None]:
        """Around what is made of the events."""
        yield
        peak = peak_resident_bytes()
        if self._before is not None and peak is not None:
            self.bytes = max(0, peak - self._before)


def _give_back() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def free_host_bytes() -> int | None:
    """Memory of the machine that a program may take; None where the system does not say."""
    try:
        lines = MEMINFO.read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
