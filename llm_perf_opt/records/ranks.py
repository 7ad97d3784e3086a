"""Ranks of one job against one another: who waited in collectives, and for whom.

Durations are whole nanoseconds. What a rank spent in a collective is split at the arrival of the last one: until then
it waited (`skew_ns`), from then on it exchanged (`transfer_ns`). Where arrivals differ by no more than the clocks are
known to, it is neither (`untold_ns`).
"""

from __future__ import annotations

from llm_perf_opt.records.base import Record


class RankSkew(Record):
    """The collectives of one rank."""

    rank: int
    source: str
    """What was analysed: the report, or the trace."""
    collectives: int
    """Kernels that communicate, whose times can be."""
    collectives_ns: int
    """Their durations added up."""
    compared: int
    """Of them, those that end at one time on all ranks and were found on another."""
    skew_ns: int | None
    """It waited for the last rank; with `transfer_ns` and `untold_ns` the duration of those compared."""
    transfer_ns: int | None
    untold_ns: int | None
    late_ns: int | None
    """It came that much later than the middle one of the ranks, over all collectives: the lower of two."""
    last: int | None
    """Collectives for which it came last, by more than the error."""
    offset_ns: int | None
    """Its clock shows so much more than that of the first rank, in the middle of what both recorded."""
    drift_ppm: float | None
    """It gains so much on it."""
    reason: str | None
    """Why the figures above are null."""


class CollectiveSkew(Record):
    """One collective in which ranks waited."""

    collective: str
    start_ns: int
    """Arrival of the first rank, on the clock of the first rank."""
    ranks: int
    skew_ns: int
    """From the arrival of the first to that of the last."""
    late_ns: int
    """From the arrival of the middle one to that of the last."""
    transfer_ns: int
    """From the arrival of the last to the end."""
    last: int
    """The rank that came last."""
    doing: str | None
    """What it mostly did while others waited; None where that is not known."""


class Doing(Record):
    """What the straggler did while others waited."""

    what: str
    late_ns: int


class RankComparison(Record):
    """What the collectives say of all ranks together."""

    answer: str
    straggler: int | None
    """The rank that the others waited for most, where most of the waiting was for it."""
    doing: tuple[Doing, ...]
    """What that rank did meanwhile, longest first."""
    world_size: int | None
    missing: tuple[int, ...]
    """Ranks of the job that are not here."""
    clocks: int
    """Different ones: processes of one nsys file share theirs."""
    error_ns: int | None
    """95 % of the collectives end within so much on all ranks once the clocks are aligned; less skew is not told."""
    matched_by: tuple[str, ...]
    """What says which collectives are the same: the communicator, or names and streams of kernels."""
    collectives: int
    """That were compared."""
    told: int
    """Of them, those whose skew is above the error."""
    largest: tuple[CollectiveSkew, ...]
    """Those in which a rank came latest."""
    notes: tuple[str, ...]
