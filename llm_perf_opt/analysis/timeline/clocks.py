"""The clocks of different hosts, laid on one another by what ended on all of them at one time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.analysis.timeline.intervals import Int
from llm_perf_opt.records.columns import ABSENT

FEWEST = 3
"""Common ends that make an offset; fewer agree with any."""
FEWEST_FOR_DRIFT = 5
WITHIN = 3 * 1.4826
"""Ends further from the line than so many median distances are not used: three deviations of a normal one."""
OF_THE_SPACING = 0.25
"""Ends that lie further apart than so much of the time from one collective to the next are not of the same ones."""
ROUNDED_NS = 2
"""Two times of different clocks are each rounded, and rounded again where one clock is laid on the other."""
ROUNDS = 8
"""Of fitting a line to the points near the one before; two or three do."""
LARGEST_DRIFT = 1e-3
"""Clocks that differ by more are broken, or the ends are of different things."""


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock against the one that all are laid on: it shows `offset_ns + drift × (time - middle_ns)` more."""

    middle_ns: int = 0
    """On the clock that all are laid on; in the middle of what both share."""
    offset_ns: int = 0
    rest_ns: float = 0.0
    """What is left of the offset below a nanosecond."""
    drift: float = 0.0
    ends: int = 0
    """Common ends that it was laid on by; 0 of the clock that all are laid on."""

    def laid(self, time: Int) -> Int:
        """These times on the clock that all are laid on."""
        ahead = time - (self.middle_ns + self.offset_ns)  # whole numbers: a float has no nanoseconds after 104 days
        return self.middle_ns + np.rint((ahead - self.rest_ns) / (1 + self.drift)).astype(np.int64)

    def shown(self, time: Int) -> Int:
        """What this clock shows at these times."""
        ahead = time - self.middle_ns
        return time + self.offset_ns + np.rint(self.rest_ns + self.drift * ahead).astype(np.int64)


def lay(collective: Int, clock: Int, end_ns: Int) -> dict[int, Clock]:
    """Lay clocks on that with the lowest number.

    One that shares too little with it is laid on those that already are.

    Args:
        collective: which of them ended, for each end, from 0 on; one clock may have several ends of one.
        clock: number of the clock that showed it.
        end_ns: on that clock.

    Returns:
        The clocks that could be laid, by number.
    """
    if not len(clock):
        return {}
    first = int(clock.min())
    found = {first: Clock()}
    times = np.full(int(collective.max()) + 1, ABSENT, np.int64)
    _add_times(times, collective, end_ns, clock == first)
    left = set(clock.tolist()) - {first}
    while left:
        known = times[collective] != ABSENT
        shared = np.bincount(clock[known], minlength=int(clock.max()) + 1)
        number = max(left, key=lambda one: (int(shared[one]), -one))
        mine = clock == number
        fitted = fit(times[collective[mine & known]], end_ns[mine & known])
        left.remove(number)
        if fitted is not None:
            found[number] = fitted
            _add_times(times, collective, fitted.laid(end_ns), mine)
    return found


def _add_times(times: Int, collective: Int, end_ns: Int, chosen: NDArray[np.bool_]) -> None:
    """Fill in the last end among the chosen ones of each collective that has no time yet."""
    rows = np.flatnonzero(chosen & (times[collective] == ABSENT))
    np.maximum.at(times, collective[rows], end_ns[rows])  # ABSENT is the least


def fit(time: Int, shown: Int) -> Clock | None:
    """The clock that showed `shown` at these times, some of which may be wrong; None where they make none."""
    if len(time) < FEWEST:
        return None
    order = np.argsort(time, kind="stable")
    time, shown = time[order], shown[order]
    middle = int(time[0]) + int(time[-1] - time[0]) // 2
    ahead = shown - time
    offset = int(np.median(ahead))
    x, y = (time - middle).astype(np.float64), (ahead - offset).astype(np.float64)
    slope = _slope(x, y) if len(x) >= FEWEST_FOR_DRIFT else 0.0
    rest = float(np.median(y - slope * x))
    if len(x) >= FEWEST_FOR_DRIFT:
        slope, rest = _refined(x, y, slope, rest)
    apart = float(np.median(np.abs(y - slope * x - rest)))
    if abs(slope) > LARGEST_DRIFT or apart > max(OF_THE_SPACING * float(np.median(np.diff(time))), ROUNDED_NS):
        return None
    return Clock(middle, offset, rest, slope, len(time))


def _refined(x: NDArray[np.float64], y: NDArray[np.float64], slope: float, rest: float) -> tuple[float, float]:
    """The line of least squares through the points that lie near it.

    The first one tilts with the rounding of points that lie close together, so that good ones far away seem wrong: they
    come back with the next.
    """
    near = np.zeros(len(x), np.bool_)
    for _ in range(ROUNDS):
        distance = np.abs(y - slope * x - rest)
        before, near = near, distance <= max(WITHIN * float(np.median(distance)), ROUNDED_NS)
        if (near == before).all() or near.sum() < FEWEST_FOR_DRIFT or not np.ptp(x[near]):
            break
        slope, rest = np.polyfit(x[near], y[near], 1).tolist()
    return slope, rest


def _slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Median of the slopes between each point of the first half and its partner in the second."""
    half = len(x) // 2
    run, rise = x[-half:] - x[:half], y[-half:] - y[:half]
    there = run > 0
    return float(np.median(rise[there] / run[there])) if there.any() else 0.0
