"""What the captured prefill and decode steps are made of: `timeline.waterfall` in `summary.json` and `--json`.

Durations are whole nanoseconds, of all devices together. What is null has its reason.
"""

from __future__ import annotations

from llm_perf_opt.records.base import Record


class WaterfallParts(Record):
    """They add up to the wall time, to the nanosecond, where none is null."""

    static_bound_ns: int | None
    """The least time that the work of these steps takes on this GPU: the larger of FLOPs over its peak and least bytes
    over its bandwidth."""
    kernels_above_bound_ns: int | None
    """While a kernel or graph ran that is no communication, less the bound."""
    exposed_communication_ns: int | None
    exposed_copy_ns: int | None
    """Copies and sets while nothing was computed or communicated."""
    idle_by_cause: dict[str, int] | None


class Waterfall(Record):
    """One phase of one capture: where the time of its steps went."""

    wall_ns: int | None
    """The phase's ranges on the host, once for each device that worked for it; where none did, once."""
    devices: int
    """Null parts are of 0."""
    occurrences: int | None
    steps: int | None
    """Decode steps in all occurrences, counted once for each device; a prefill is one step."""
    kernel_ns: int | None
    """While a kernel or graph ran that is no communication: bound and what is above it together."""
    launched_kernel_ns: int | None
    """Durations of what was launched in the phase, whenever it ran; as far as the record has its kernels."""
    parts: WaterfallParts
    captured_step_ns: int | None
    """Wall time by steps."""
    unprofiled_step_ns: int | None
    """TPOT of the timed repeats of the same work, their latency for prefill; medians over repeats."""
    cost_of_profiling_ns: int | None
    """Captured step less unprofiled step."""
    cost_of_profiling_share: float | None
    """Of the unprofiled step."""
    host_causes_inflated: bool | None
    """Profiling cost so much that the host causes of idle time say little of a run without it."""
    bound_source: str | None
    """What the bound was computed from."""
    answer: str
    """In a sentence."""
    reasons: dict[str, str]
    """Name of a null → why it is null."""
