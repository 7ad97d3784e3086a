"""An A/B in one block: in what order to launch, and when to look.

Looking after every launch and stopping at the first alarm has far more false alarms than each look by itself: 12 to
19 % instead of 5. Looks are therefore planned beforehand, each with a level of its own (Pocock 1977, Group sequential
methods in the design and analysis of clinical trials, Biometrika 64; Lan and DeMets 1983, Discrete sequential
boundaries for clinical trials, Biometrika 70, for levels that differ).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llm_perf_opt.analysis.verdict import TOLERANCE_PERCENT, Better, Verdict, judge


@dataclass(frozen=True)
class Look:
    """One planned look."""

    launches: int
    """A side, at which it is taken."""
    level: float
    """Two-sided, of this look alone."""


PLAN = (Look(5, 0.016), Look(8, 0.015), Look(12, 0.0125), Look(20, 0.0125))
"""With these levels ranks keep 1.59, 1.48, 1.21 and 1.22 %, and the whole 4.1 %, whatever the distribution: the order
of launches decides, and all orders are equally likely. Pocock's 0.0182 four times would keep 4.9 %, too near 5 to be
shown by a simulation of 4,000."""


@dataclass(frozen=True)
class Progress:
    """Where an A/B stands."""

    verdict: Verdict | None
    """Of the look that decided, or of the last one taken; None before the first."""
    look: Look | None
    next: Look | None
    """None where it is decided or no look is left."""


def launch_order(launches: int) -> str:
    """The sides of the first `2 * launches` launches: ABBA BAAB BAAB ABBA …, a prefix of any longer order.

    Each pair holds both sides, so any number of pairs is balanced. A drift that is linear in time cancels after two
    pairs, up to the square after four, up to the cube after eight; and the order has no period that a load could share
    (Prouhet 1851, Mémoire sur quelques relations entre les puissances des nombres, C. R. Acad. Sci. 33).
    """
    return "".join("AB"[place.bit_count() % 2] for place in range(2 * launches))


def progress(
    a: Sequence[float],
    b: Sequence[float],
    *,
    better: Better = "lower",
    tolerance_percent: float = TOLERANCE_PERCENT,
    plan: Sequence[Look] = PLAN,
) -> Progress:
    """The first planned look that decides, else the last that was reached.

    A look sees the launches planned for it and no others: what is made after a look decided, or after the last one,
    changes nothing, and taking it up again gives the same verdict.
    """
    verdict, taken = None, None
    for look in plan:
        if min(len(a), len(b)) < look.launches:
            return Progress(verdict, taken, look)
        sides = a[: look.launches], b[: look.launches]
        verdict = judge(*sides, better=better, tolerance_percent=tolerance_percent, level=look.level)
        taken = look
        if verdict.outcome != "cannot tell":
            break
    return Progress(verdict, taken, None)
