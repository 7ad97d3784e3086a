"""Units as ncu prints them, and what turns a value into ncu's base unit (that of `--print-units base`)."""

from __future__ import annotations

import re
from functools import cache

# Decimal prefixes: 198.29 Gbyte/s for 13.31 us is the 2.64 Mbyte that the same report gives.
_PREFIX = {"K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_NANOSECONDS = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}
# Until 2024 releases wrote units of time out.
_NANOSECONDS |= {"nsecond": 1.0, "usecond": 1e3, "msecond": 1e6, "second": 1e9}
_SCALED = re.compile(r"([KMGTP])([a-z]+)")


@cache
def to_base(unit: str) -> float:
    """What a value in `unit` is multiplied by to be in nanoseconds, bytes, Hz, bytes or cycles per second, …

    A unit without a scale (`%`, `inst`, `byte/cycle`, `register/thread`) stays as it is: 1.
    """
    above, _, below = unit.partition("/")
    if below:
        per = 1e9 / _NANOSECONDS[below] if below in _NANOSECONDS else 1 / _scale(below)
        return _scale(above) * per
    return _NANOSECONDS.get(unit) or _scale(unit)


def _scale(unit: str) -> float:
    found = _SCALED.fullmatch(unit)
    return _PREFIX[found[1]] if found else 1.0
