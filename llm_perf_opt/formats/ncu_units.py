"""Units of ncu's metrics: the base unit of a metric from its name, and what turns a printed unit into its base unit.

A report stores values in base units and no names of units. Performance metrics are named `unit__counter.rollup.sub`
(Nsight Compute's Kernel Profiling Guide, "Metrics Structure"), and the counter says what it counts. Names that no rule
covers have no unit here: that does not mean that they are plain numbers. Every unit given here for the 934 metrics of
an ncu 2020.3 and an ncu 2022.4 report is the one that ncu 2022.3 prints, but for its spelling (`ns`, `byte/s` and `hz`
are those of later versions; 2022.3 has `nsecond`, `byte/second` and `cycle/second`).
"""

from __future__ import annotations

import re
from functools import cache

_PERFORMANCE = re.compile(r"\w+?__(?P<counter>\w+)\.(?:sum|avg|min|max)(?:\.(?P<sub>\w+))?")
_COUNTED = (
    (re.compile(r"(^|_)bytes(_|$)"), "byte"),
    (re.compile(r"(^|_)time_duration(_|$)"), "ns"),
    (re.compile(r"(^|_)sectors(_|$)"), "sector"),
    (re.compile(r"(^|_)requests(_|$)"), "request"),
    (re.compile(r"(^|_)inst_(executed|issued)(_|$)"), "inst"),
    (re.compile(r"^cycles_(elapsed|active)(_|$)"), "cycle"),
)
_LAUNCH = (
    (re.compile(r"launch__registers_per_thread(_allocated)?"), "register/thread"),
    (re.compile(r"launch__shared_mem_per_block(_\w+)?"), "byte/block"),
    (re.compile(r"launch__shared_mem_config_size"), "byte"),
    (re.compile(r"launch__occupancy_limit_(blocks|registers|shared_mem|warps)"), "block"),
    (re.compile(r"launch__thread_count"), "thread"),
)
_PER = {
    "per_second": "s",
    "per_cycle_active": "cycle",
    "per_cycle_elapsed": "cycle",
    "peak_sustained": "cycle",
}


def base_unit(name: str) -> str:
    """`byte`, `ns`, `%`, `inst/cycle`, …; empty where the name does not say."""
    if re.search(r"[._]pct(_of_peak\w*)?$", name):
        return "%"
    for pattern, unit in _LAUNCH:
        if pattern.fullmatch(name):
            return unit
    match = _PERFORMANCE.fullmatch(name)
    counted = (
        None if match is None else next((unit for found, unit in _COUNTED if found.search(match["counter"])), None)
    )
    if match is None or counted is None:
        return ""
    if match["sub"] is None:
        return counted
    per = _PER.get(match["sub"])
    if per is None:
        return ""
    return "hz" if (counted, per) == ("cycle", "s") else f"{counted}/{per}"


# Decimal prefixes: 198.29 Gbyte/s for 13.31 us is the 2.64 Mbyte that the same report gives.
_PREFIX = {"K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_NANOSECONDS = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}
# Until 2024 releases wrote units of time out.
_NANOSECONDS |= {"nsecond": 1.0, "usecond": 1e3, "msecond": 1e6, "second": 1e9}
_SCALED = re.compile(r"([KMGTP])([a-z]+)")


@cache
def to_base(unit: str) -> float:
    """What a value in `unit` is multiplied by to be in nanoseconds, bytes, Hz, bytes or cycles per second, …

    These are the units of `--print-units base`. A unit without a scale (`%`, `inst`, `byte/cycle`, `register/thread`)
    stays as it is: 1.
    """
    above, _, below = unit.partition("/")
    if below:
        per = 1e9 / _NANOSECONDS[below] if below in _NANOSECONDS else 1 / _scale(below)
        return _scale(above) * per
    return _NANOSECONDS.get(unit) or _scale(unit)


def _scale(unit: str) -> float:
    found = _SCALED.fullmatch(unit)
    return _PREFIX[found[1]] if found else 1.0


@cache
def base_name(unit: str) -> str:
    """The unit that `to_base` makes of it."""
    above, _, below = unit.partition("/")
    if below:
        base = f"{_base_name(above)}/{'s' if below in _NANOSECONDS else _base_name(below)}"
        return "hz" if base == "cycle/s" else base
    return "ns" if unit in _NANOSECONDS else _base_name(unit)


def _base_name(unit: str) -> str:
    found = _SCALED.fullmatch(unit)
    return found[2] if found else unit
