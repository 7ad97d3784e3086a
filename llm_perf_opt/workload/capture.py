"""What a child does for a tool that watches it (nsys, ncu): ranges of modules, and telling the tool when to look."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch

from llm_perf_opt.errors import MissingError
from llm_perf_opt.records.workload import RangesSent
from llm_perf_opt.workload.clock import Clock
from llm_perf_opt.workload.events import EventWriter
from llm_perf_opt.workload.measure import Session
from llm_perf_opt.workload.order import STEADY_STEP, Capture
from llm_perf_opt.workload.ranges import AnyRange, Range, Ranges, Silent, module_ranges
from llm_perf_opt.workload.senders import listened_to, sender


def check_capture(capture: Capture | None, device: torch.device, events: EventWriter) -> None:
    """Say through what ranges are sent, and refuse what cannot be done, before the model is loaded.

    Raises:
        MissingError: the CUDA profiler API was asked for and there is no CUDA device; or ranges are waited for, and
            none can be sent.
    """
    chosen = sender()
    events.ranges(chosen.name, chosen.reason)
    if capture is not None and capture.needs_ranges and chosen.name is None and listened_to(os.environ):
        raise MissingError(
            f"the capture waits for an NVTX range, and none is sent: {chosen.reason}",
            "install another release of the tool, or capture without NVTX (gating_nvtx: false)",
        )
    if capture is not None and capture.profiler_api is not None and device.type != "cuda":
        raise MissingError(
            f"cudaProfilerStart needs a CUDA device, and the workload runs on {device}",
            "capture an NVTX range instead (pipeline.nsys.capture_range: nvtx, nvtx_capture: decode), or run on a GPU",
        )


def ranges_sent() -> RangesSent:
    """What this process has sent so far."""
    chosen = sender()
    return RangesSent(sender=chosen.name, reason=chosen.reason, sent=None if chosen.sent is None else dict(chosen.sent))


@contextlib.contextmanager
def capturing(session: Session) -> Iterator[None]:
    """Do what the order's capture asks for while the timed repeats run."""
    capture = session.order.capture
    if capture is None:
        yield
        return
    kinds = session.order.config.measure.ranges
    if capture.steady_step:
        bracketed = capture.profiler_api == "steady_step"
        session.make_ranges = lambda: SteadyRanges(kinds, session.clock, bracketed=bracketed)
    # Hooks would change what a compiled model runs, and calls are not seen in a captured graph.
    hooked = "module" in kinds and session.order.config.infer.execution == "eager"
    with contextlib.ExitStack() as stack:
        if hooked:
            stack.enter_context(module_ranges(session.loaded.modules(), Ranges(kinds)))
        if capture.profiler_api == "measured":
            stack.enter_context(ProfilerBracket(session.clock))
        yield


class ProfilerBracket:
    """cudaProfilerStart and -Stop; the device is waited for before each."""

    def __init__(self, clock: Clock[Any]) -> None:
        self._clock = clock

    def __enter__(self) -> None:
        self._clock.synchronize()
        torch.cuda.cudart().cudaProfilerStart()  # type: ignore[no-untyped-call]

    def __exit__(self, *_: object) -> None:
        self._clock.synchronize()
        torch.cuda.cudart().cudaProfilerStop()  # type: ignore[no-untyped-call]


class SteadyRanges(Ranges):
    """Ranges of which the middle decode step is in one of its own: not the first, and at a typical context length."""

    def __init__(self, kinds: tuple[str, ...], clock: Clock[Any], *, bracketed: bool) -> None:
        super().__init__(kinds)
        self._clock = clock
        self._bracketed = bracketed

    def steps(self, count: int) -> list[AnyRange]:
        ranges = super().steps(count)
        if ranges:
            middle = count // 2
            ranges[middle] = _Steady(ranges[middle], self._clock, bracketed=self._bracketed)
        return ranges


class _Steady(Silent):
    """The steady step's range, inside the range that the step has anyway."""

    __slots__ = ("_around", "_bracket", "_clock", "_range")

    def __init__(self, around: AnyRange, clock: Clock[Any], *, bracketed: bool) -> None:
        self._around = around
        self._clock = clock
        self._range = Range(STEADY_STEP)
        self._bracket = ProfilerBracket(clock) if bracketed else None

    def __enter__(self) -> None:
        self._around.__enter__()
        self._clock.synchronize()
        self._range.__enter__()
        if self._bracket is not None:
            self._bracket.__enter__()

    def __exit__(self, *exc: Any) -> None:
        self._clock.synchronize()
        if self._bracket is not None:
            self._bracket.__exit__(*exc)
        self._range.__exit__(*exc)
        self._around.__exit__(*exc)
