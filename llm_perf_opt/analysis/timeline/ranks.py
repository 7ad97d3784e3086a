"""Ranks of one job against one another: skew and transfer of their collectives, and the rank that others wait for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.analysis.timeline.clocks import FEWEST, ROUNDED_NS, Clock, lay
from llm_perf_opt.analysis.timeline.collectives import Collectives, shown, told_by
from llm_perf_opt.analysis.timeline.devices import ranked
from llm_perf_opt.analysis.timeline.intervals import Int, runs
from llm_perf_opt.analysis.timeline.matching import Matched, match
from llm_perf_opt.analysis.timeline.straggler import answer, listed, without_answer
from llm_perf_opt.records.ranks import CollectiveSkew, Doing, RankComparison, RankSkew

LARGEST = 20
WITHIN_ERROR = 0.95
"""Of the collectives, so many end on all ranks within the error."""
NOTHING = "no collective was recorded"
NONE_SYNCHRONISES = "no collective was recorded that ends at one time on all ranks, as an all-reduce does"
ALONE = "no other rank could be read"
NONE_SHARED = "no collective is shared with another rank: of another job, or of another part of this one"
NOT_LAID = f"the clock cannot be laid on the others': fewer than {FEWEST} collectives are shared, or no line fits"


@dataclass(frozen=True)
class Member:
    """One rank."""

    rank: int
    source: str
    clock: int
    """Members of one number share their clock, as the processes of one nsys file do."""
    collectives: Collectives


@dataclass(frozen=True, slots=True)
class _Table:
    """Compared collectives, one row for each rank that took part; by collective, times on the clock of the first."""

    collective: Int
    member: Int
    row: Int
    start: Int
    end: Int
    heads: Int
    """First row of each collective."""
    numbers: Int
    """Of each collective among those that were matched."""


@dataclass(frozen=True, slots=True)
class _Arrivals:
    """One element for each collective."""

    first: Int
    middle: Int
    last: Int
    last_row: Int
    end: Int
    told: NDArray[np.bool_]
    error_ns: int


def compare(members: Sequence[Member], world_size: int | None = None) -> tuple[list[RankSkew], RankComparison]:
    """Compare ranks by their collectives.

    Args:
        members: ranks that are different.
        world_size: ranks of the job, where that is known.

    Returns:
        Of each rank its part, by rank; and what is said of all.
    """
    members = sorted(members, key=lambda member: member.rank)
    matched = match([member.collectives for member in members], [f"rank {member.rank}" for member in members])
    number_of = _by_rank([member.clock for member in members])
    end = _gathered([member.collectives.rows.end_ns for member in members], matched)
    clocks = lay(matched.collective, number_of[matched.member], end)
    table = _laid(members, matched, clocks, number_of)
    missing = () if world_size is None else tuple(sorted(set(range(world_size)) - {row.rank for row in members}))
    arrivals = _arrivals(table, len(clocks)) if len(table.heads) else None
    skews = []
    for number, member in enumerate(members):
        rows = np.flatnonzero(table.member == number)
        clock = clocks.get(int(number_of[number])) if len(rows) else None
        shared, alone = bool((matched.member == number).any()), len(members) == 1
        reason = None if len(rows) else _why_not(member.collectives, matched=shared, alone=alone)
        skews.append(_rank(member, clock, reason, {} if arrivals is None else _split(member, table, rows, arrivals)))
    largest = [] if arrivals is None else _largest(members, matched, table, arrivals)
    who, doing = (None, ()) if arrivals is None else _straggler(skews, members, table, arrivals)
    keys = {matched.keys[number] for number in table.numbers.tolist()}
    by = sorted(set(map(told_by, keys)))
    comparison = RankComparison(
        answer="",
        straggler=who,
        doing=doing,
        world_size=world_size,
        missing=missing,
        clocks=len(set(number_of.tolist())),
        error_ns=None if arrivals is None else arrivals.error_ns,
        matched_by=tuple(by),
        collectives=len(table.heads),
        told=0 if arrivals is None else int(arrivals.told.sum()),
        largest=tuple(largest),
        notes=(*_missing_words(missing, world_size), *matched.notes),
    )
    said = without_answer(skews) if arrivals is None else answer(skews, comparison)
    return skews, comparison.model_copy(update={"answer": said})


def _by_rank(clocks: Sequence[int]) -> Int:
    """Clocks numbered in the order in which ranks use them: that of the first rank is the one others are laid on."""
    numbers: dict[int, int] = {}
    return np.array([numbers.setdefault(clock, len(numbers)) for clock in clocks], np.int64)


def _gathered(columns: Sequence[Int], matched: Matched) -> Int:
    """The value of each matched row."""
    found = np.empty(len(matched.row), np.int64)
    for number, column in enumerate(columns):
        mine = matched.member == number
        found[mine] = column[matched.row[mine]]
    return found


def _laid(members: Sequence[Member], matched: Matched, clocks: dict[int, Clock], number_of: Int) -> _Table:
    start, end = (
        _gathered([getattr(member.collectives.rows, name) for member in members], matched)
        for name in ("start_ns", "end_ns")
    )
    kept = np.isin(number_of[matched.member], list(clocks)) if len(matched.row) else np.zeros(0, np.bool_)
    for number, clock in clocks.items():
        mine = number_of[matched.member] == number
        start[mine], end[mine] = clock.laid(start[mine]), clock.laid(end[mine])
    if len(kept):
        several = np.bincount(matched.collective[kept], minlength=len(matched.keys)) > 1
        kept &= several[matched.collective]
    numbers = matched.collective[kept]
    heads, collective = runs(numbers)
    return _Table(collective, matched.member[kept], matched.row[kept], start[kept], end[kept], heads, numbers[heads])


def _arrivals(table: _Table, clocks: int) -> _Arrivals:
    order = np.lexsort((table.member, table.start, table.collective))
    sizes = np.diff(np.append(table.heads, len(order)))
    last_row = order[table.heads + sizes - 1]
    first, last = table.start[order[table.heads]], table.start[last_row]
    ends = np.maximum.reduceat(table.end, table.heads)
    spread = ends - np.minimum.reduceat(table.end, table.heads)
    error = ranked(np.sort(spread), WITHIN_ERROR) + (ROUNDED_NS if clocks > 1 else 0)
    middle = table.start[order[table.heads + (sizes - 1) // 2]]
    told = (last - first > error) | (error == 0)
    return _Arrivals(first, middle, last, last_row, ends, told, error)


def _split(member: Member, table: _Table, rows: Int, arrivals: _Arrivals) -> dict[str, int]:
    """The figures of a rank from its rows of the table."""
    if not len(rows):
        return {}
    start, end, collective = table.start[rows], table.end[rows], table.collective[rows]
    told = arrivals.told[collective]
    late = np.maximum(start - arrivals.middle[collective], 0)
    late[late < max(arrivals.error_ns, 1)] = 0
    last = np.isin(rows, arrivals.last_row) & (late > 0)
    # Durations by the rank's own clock: the parts add up to what it recorded.
    own = member.collectives.rows.end_ns[table.row[rows]] - member.collectives.rows.start_ns[table.row[rows]]
    waited = np.clip(np.minimum(end, arrivals.last[collective]) - start, 0, own)
    return {
        "skew_ns": int(waited[told].sum()),
        "transfer_ns": int((own - waited)[told].sum()),
        "untold_ns": int(own[~told].sum()),
        "late_ns": int(late[told].sum()),
        "last": int((last & told).sum()),
        "compared": len(rows),
    }


def _rank(member: Member, clock: Clock | None, reason: str | None, split: dict[str, int]) -> RankSkew:
    found = member.collectives
    return RankSkew(
        rank=member.rank,
        source=member.source,
        collectives=len(found.rows),
        collectives_ns=found.communication_ns,
        compared=split.get("compared", 0),
        skew_ns=split.get("skew_ns"),
        transfer_ns=split.get("transfer_ns"),
        untold_ns=split.get("untold_ns"),
        late_ns=split.get("late_ns"),
        last=split.get("last"),
        offset_ns=None if clock is None else clock.offset_ns,
        drift_ppm=None if clock is None else clock.drift * 1e6,
        reason=reason,
    )


def _why_not(found: Collectives, *, matched: bool, alone: bool) -> str:
    if not len(found.rows):
        return NOTHING
    if not found.rows.synchronises.any():
        return NONE_SYNCHRONISES
    if alone:
        return ALONE
    return NOT_LAID if matched else NONE_SHARED


def _largest(members: Sequence[Member], matched: Matched, table: _Table, arrivals: _Arrivals) -> list[CollectiveSkew]:
    """The told collectives in which a rank came latest, the latest first."""
    late = np.where(arrivals.told, arrivals.last - arrivals.middle, 0)
    sizes = np.diff(np.append(table.heads, len(table.collective)))
    found = []
    for number in np.lexsort((arrivals.first, -late))[:LARGEST].tolist():
        row = int(arrivals.last_row[number])
        if late[number] < max(arrivals.error_ns, 1):
            break
        found.append(
            CollectiveSkew(
                collective=shown(matched.keys[int(table.numbers[number])]),
                start_ns=int(arrivals.first[number]),
                ranks=int(sizes[number]),
                skew_ns=int(arrivals.last[number] - arrivals.first[number]),
                late_ns=int(late[number]),
                transfer_ns=max(0, int(arrivals.end[number] - arrivals.last[number])),
                last=members[int(table.member[row])].rank,
                doing=_did(members, table, row, int(late[number])),
            )
        )
    return found


def _did(members: Sequence[Member], table: _Table, row: int, length_ns: int) -> str | None:
    before = members[int(table.member[row])].collectives.before
    return before.in_last(int(table.row[row]), length_ns)


MOSTLY = 0.5


def _straggler(
    skews: Sequence[RankSkew], members: Sequence[Member], table: _Table, arrivals: _Arrivals
) -> tuple[int | None, tuple[Doing, ...]]:
    """The rank that most of the lateness is of, and what it did meanwhile."""
    late = [skew.late_ns or 0 for skew in skews]
    if not sum(late) or max(late) <= MOSTLY * sum(late):
        return None, ()
    number = late.index(max(late))
    mine = np.flatnonzero(table.member == number)
    collective = table.collective[mine]
    by = table.start[mine] - arrivals.middle[collective]
    mine = mine[(by >= max(arrivals.error_ns, 1)) & arrivals.told[collective]]
    did: Counter[str] = Counter()
    for row in mine.tolist():
        length = int(table.start[row] - arrivals.middle[table.collective[row]])
        did[_did(members, table, row, length) or "what it did is not recorded"] += length
    found = sorted(did.items(), key=lambda item: (-item[1], item[0]))
    return members[number].rank, tuple(Doing(what=what, late_ns=ns) for what, ns in found[:LARGEST])


def _missing_words(missing: Sequence[int], world_size: int | None) -> list[str]:
    if not missing:
        return []
    words = f"{listed(missing)} {'is' if len(missing) == 1 else 'are'}"
    return [f"The job has {world_size:,} ranks; {words} not here: the others may have waited for one of them."]
