"""Which class a kernel is of, by the thresholds of Nsight Compute's own rule for its Speed Of Light section.

The rule (`SOLBottleneck`, in the `sections` folder of every ncu) says of a kernel whose compute and memory throughput
are both below 60 % of peak that this typically indicates latency issues, or, where the grid makes less than one full
wave, that it is too small for the device. Above, it names the more utilized of the two, and calls them balanced where
they are less than ten points apart. docs/nsight/kernels.md has the places where it can be read.
"""

from __future__ import annotations

from llm_perf_opt.records.kernels import BoundClass, Value

LATENCY_BELOW_PCT = 60.0
"""Both units below this: neither limits."""
BALANCED_WITHIN_PCT = 10.0
"""Closer than this, percentage points: neither limits more than the other."""
FULL_WAVE = 1.0
"""A grid of fewer waves leaves multiprocessors without work."""


def classify(sm_pct: float | None, memory_pct: float | None) -> BoundClass:
    """The class from the compute and the memory throughput, percent of peak; `unknown` where one is missing.

    Memory is all of it: L1, L2 and DRAM (ncu's "Memory Throughput"), not DRAM alone.
    """
    if sm_pct is None or memory_pct is None:
        return "unknown"
    if max(sm_pct, memory_pct) < LATENCY_BELOW_PCT:
        return "latency_bound"
    if abs(sm_pct - memory_pct) < BALANCED_WITHIN_PCT:
        return "balanced"
    return "compute_bound" if sm_pct > memory_pct else "memory_bound"


def explain(figures: dict[str, Value]) -> tuple[BoundClass, str]:
    """The class of a launch, and the figures and the rule that give it in a sentence."""
    sm, memory = figures["sm_pct"], figures["memory_pct"]
    bound = classify(sm.value, memory.value)
    if sm.value is None or memory.value is None:
        return bound, "; ".join(value.reason for value in (sm, memory) if value.reason)
    measured = f"SM {sm.value:.1f} %, memory {memory.value:.1f} % of peak"
    said = {
        "latency_bound": f"both below {LATENCY_BELOW_PCT:.0f} %",
        "balanced": f"less than {BALANCED_WITHIN_PCT:.0f} points apart",
        "compute_bound": "compute is utilized more",
        "memory_bound": "memory is utilized more",
    }[bound]
    waves = figures["waves_per_sm"].value
    small = ""
    if bound == "latency_bound" and waves is not None and waves < FULL_WAVE:
        small = f"; the grid makes {waves:.2f} waves, too few to fill the device"
    return bound, f"{measured}: {said}{small}"
