"""Which class a kernel is of, by two rules that stand side by side.

The first is Nsight Compute's own rule for its Speed Of Light section (`SOLBottleneck`, in the `sections` folder of
every ncu). It says of a kernel whose compute and memory throughput are both below 60 % of peak that this typically
indicates latency issues, or, where the grid makes less than one full wave, that it is too small for the device. Above,
it names the more utilized of the two, and calls them balanced where they are less than ten points apart. From 80 % on
it speaks of a kernel that uses most of what the device has.

The second compares SM with DRAM throughput and asks for no least utilization; tables of the recorded kernels were
published by it. docs/nsight/kernels.md has the places where both can be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from llm_perf_opt.records.kernels import BoundClass, RooflinePoint, RuleResult, ThroughputClass, Value

LATENCY_BELOW_PCT = 60.0
"""Both units below this: neither limits."""
BALANCED_WITHIN_PCT = 10.0
"""Closer than this, percentage points: neither limits more than the other."""
AT_PEAK_PCT = 80.0
"""A unit from here on limits, whatever the one that was not measured does."""
FULL_WAVE = 1.0
"""A grid of fewer waves leaves multiprocessors without work."""
SM_DRAM_WITHIN_PCT = 5.0
"""Of the second rule: closer than this is balanced."""

NCU_RULE = "ncu's 60 % rule"
SM_DRAM_RULE = "SM against DRAM"

NEAR_ITS_ROOF = "which this rule does not look at"

# What its message holds → what ncu's own rule said. From 80 % on its message names a section to look at.
_SAID: tuple[tuple[str, BoundClass], ...] = (
    ("grid is too small to fill", "small_grid"),
    ("typically indicate latency issues", "latency_bound"),
    ("Compute is more heavily utilized", "compute_bound"),
    ("Memory is more heavily utilized", "memory_bound"),
    ("are well-balanced", "balanced"),
)
_FROM_80 = "of the available compute or memory performance"
_FROM_80_SAID: tuple[tuple[str, BoundClass], ...] = (
    ("Memory Workload Analysis", "memory_bound"),
    ("Compute Workload Analysis", "compute_bound"),
)


def classify(sm_pct: float | None, memory_pct: float | None, *, small: bool = False) -> BoundClass:
    """The class by ncu's rule from the compute and the memory throughput, percent of peak; `unknown` without both.

    Memory is all of it: L1, L2 and DRAM (ncu's "Memory Throughput"), not DRAM alone.

    Args:
        small: the grid makes less than one wave.
    """
    if sm_pct is None or memory_pct is None:
        return "unknown"
    if max(sm_pct, memory_pct) < LATENCY_BELOW_PCT:
        return "small_grid" if small else "latency_bound"
    if abs(sm_pct - memory_pct) < BALANCED_WITHIN_PCT:
        return "balanced"
    return "compute_bound" if sm_pct > memory_pct else "memory_bound"


def classify_partly(sm_pct: float | None, memory_from_pct: float | None, *, small: bool = False) -> BoundClass:
    """The class where the memory throughput is only known to be at least that of one of its parts.

    It is a class of `classify` where every memory throughput that is possible gives that one, or where a unit is at
    its peak (`AT_PEAK_PCT`); `small_grid` where nothing speaks against it; else `unknown`.
    """
    sm, memory = sm_pct or 0.0, memory_from_pct or 0.0
    if sm_pct is not None and memory >= LATENCY_BELOW_PCT and memory - sm >= BALANCED_WITHIN_PCT:
        return "memory_bound"  # however much higher the memory throughput is
    if max(sm, memory) >= AT_PEAK_PCT:
        return classify(sm, memory)
    return "small_grid" if small and max(sm, memory) < LATENCY_BELOW_PCT else "unknown"


def classify_sm_dram(sm_pct: float | None, dram_pct: float | None) -> ThroughputClass:
    """The class by the second rule."""
    if sm_pct is None or dram_pct is None:
        return "unknown"
    if abs(sm_pct - dram_pct) < SM_DRAM_WITHIN_PCT:
        return "balanced"
    return "compute_bound" if sm_pct > dram_pct else "memory_bound"


def recorded(rules: Iterable[RuleResult]) -> BoundClass | None:
    """What ncu itself said, where the file holds it."""
    for rule in rules:
        if rule.name == "SOLBottleneck":
            said = _FROM_80_SAID if _FROM_80 in rule.message else _SAID
            return next((bound for words, bound in said if words in rule.message), None)
    return None


def fills_a_part(figures: dict[str, Value]) -> str | None:
    """In words, where the grid is known to leave a part of the GPU without work."""
    waves, blocks, processors = (_value(figures, name) for name in ("waves_per_sm", "blocks", "sm_count"))
    if waves is not None:
        return f"the grid makes {waves:.2f} waves" if waves < FULL_WAVE else None
    if blocks is not None and processors is not None:
        few = blocks < processors
        return f"the grid has {blocks:,.0f} blocks for {processors:,.0f} multiprocessors" if few else None
    # A block runs on one multiprocessor, and no GPU that ncu knows has only one.
    return "the grid is a single block" if blocks == 1 else None


def explain(
    figures: dict[str, Value], rules: Sequence[RuleResult] = (), points: Sequence[RooflinePoint] = ()
) -> tuple[BoundClass, str]:
    """The class of a launch by ncu's rule, and the figures that give it in a sentence."""
    sm, memory = _value(figures, "sm_pct"), _value(figures, "memory_pct")
    told = recorded(rules)
    small = fills_a_part(figures) or ("ncu says that the grid is too small" if told == "small_grid" else None)
    if sm is not None and memory is not None:
        bound = classify(sm, memory, small=small is not None)
        return bound, f"{NCU_RULE}: {_measured(figures)}: {_said(bound, small)}{_at_the_roof(bound, points)}"
    parts = [value for name in ("memory_pct", "dram_pct", "l2_pct") if (value := _value(figures, name)) is not None]
    bound = classify_partly(sm, max(parts, default=None), small=small is not None)
    if bound in ("unknown", "small_grid") and told is not None:
        return told, f"{NCU_RULE}, as ncu applied it: its result is in the file, and the figures are not all"
    if bound == "small_grid":
        return bound, f"the grid fills a part of the GPU: {small}; {_measured(figures)}"
    if bound != "unknown":
        return bound, f"{NCU_RULE}, without all of its figures: {_measured(figures)}: {_said(bound, small)}"
    lacking = (figures[name].reason for name in ("sm_pct", "memory_pct") if figures[name].value is None)
    return bound, "; ".join(text for text in lacking if text)


def by_dram(figures: dict[str, Value]) -> tuple[ThroughputClass, str]:
    """The class of a launch by the second rule, and why."""
    sm, dram = _value(figures, "sm_pct"), _value(figures, "dram_pct")
    bound = classify_sm_dram(sm, dram)
    if sm is None or dram is None:
        lacking = (figures[name].reason for name in ("sm_pct", "dram_pct") if figures[name].value is None)
        return bound, "; ".join(text for text in lacking if text)
    return bound, f"{SM_DRAM_RULE}, {SM_DRAM_WITHIN_PCT:.0f} points: SM {sm:.1f} %, DRAM {dram:.1f} % of peak"


def _value(figures: dict[str, Value], name: str) -> float | None:
    return figures[name].value if name in figures else None


def _measured(figures: dict[str, Value]) -> str:
    names = {"sm_pct": "SM", "memory_pct": "memory"}
    if _value(figures, "memory_pct") is None:
        names |= {"dram_pct": "DRAM", "l2_pct": "L2"}
    shown = [f"{words} {value:.1f} %" for name, words in names.items() if (value := _value(figures, name)) is not None]
    return f"{', '.join(shown)} of peak" if shown else "no throughput is known"


def _said(bound: BoundClass, small: str | None) -> str:
    words = {
        "latency_bound": f"both below {LATENCY_BELOW_PCT:.0f} %",
        "balanced": f"less than {BALANCED_WITHIN_PCT:.0f} points apart",
        "compute_bound": "compute is utilized more",
        "memory_bound": "memory is utilized more",
        "small_grid": f"both below {LATENCY_BELOW_PCT:.0f} %, and the grid fills a part of the GPU: {small}",
    }
    return words[cast("str", bound)]


def _at_the_roof(bound: BoundClass, points: Sequence[RooflinePoint]) -> str:
    """What the rule does not look at: arithmetic that is near its own roof."""
    if bound not in ("latency_bound", "small_grid"):
        return ""
    near = [point for point in points if (point.share_of_roof or 0.0) * 100 >= LATENCY_BELOW_PCT]
    shown = ", ".join(f"{point.kind} {(point.share_of_roof or 0.0) * 100:.0f} %" for point in near)
    return f"; yet its arithmetic is at {shown} of its roof, {NEAR_ITS_ROOF}" if near else ""
