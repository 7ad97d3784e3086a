"""Which collective of one rank is which of another's: by communicator and number, else by being counted alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_perf_opt.analysis.timeline.clocks import fit
from llm_perf_opt.analysis.timeline.collectives import Collectives, Key, shown
from llm_perf_opt.analysis.timeline.intervals import Int, runs

MOST_SHIFTS = 64
FEWEST_TO_SHIFT = 8
CLEARLY = 2
"""A shift is taken where the next best fits so many times worse."""


@dataclass(frozen=True, slots=True)
class Matched:
    """Collectives that several ranks took part in and that end at one time on all of them."""

    collective: Int
    """Number of it, from 0 on, for each rank that took part; sorted."""
    member: Int
    row: Int
    """Among the collectives of the member."""
    keys: tuple[Key, ...]
    """Of each collective."""
    notes: tuple[str, ...]


def match(members: Sequence[Collectives], names: Sequence[str]) -> Matched:
    """Match the collectives of several ranks.

    Args:
        names: what the members are called in notes.
    """
    keys: dict[Key, int] = {}
    parts: list[tuple[Int, Int, Int, Int]] = []
    for position, member in enumerate(members):
        of_member = np.array([keys.setdefault(key, len(keys)) for key in member.keys], np.int64)
        rows = np.flatnonzero(member.rows.synchronises)
        key = of_member[member.rows.key[rows]] if len(rows) else rows
        parts.append((key, member.rows.number[rows], np.full(len(rows), position, np.int64), rows))
    columns: list[Int] = [np.concatenate(some) for some in zip(*parts, strict=True)]
    columns[1], kept, notes = _counted_alike(members, names, tuple(keys), columns)
    columns = [column[kept] for column in columns]
    order = np.lexsort((columns[2], columns[1], columns[0]))
    key, number, member_of, row = (column[order] for column in columns)
    _, run = runs(_pairs(key, number))
    shared = (np.bincount(run)[run] > 1) if len(run) else np.zeros(0, np.bool_)
    heads, collective = runs(run[shared])
    table = tuple(keys)
    found = tuple(table[position] for position in key[shared][heads].tolist())
    return Matched(collective, member_of[shared], row[shared], found, tuple(notes))


def _pairs(key: Int, number: Int) -> Int:
    """A number for each pair; the pairs are sorted."""
    if not len(key):
        return key
    new = np.append(True, (key[1:] != key[:-1]) | (number[1:] != number[:-1]))
    return np.cumsum(new)


def _counted_alike(
    members: Sequence[Collectives], names: Sequence[str], keys: Sequence[Key], columns: Sequence[Int]
) -> tuple[Int, NDArray[np.bool_], list[str]]:
    """Numbers that mean the same on every rank, where a recording has more of a key than another one; which rows are
    kept; notes on those that are not."""
    key, number, member, row = columns
    number, kept = number.copy(), np.ones(len(key), np.bool_)
    notes = []
    counts = np.zeros((len(keys), len(members)), np.int64)
    np.add.at(counts, (key, member), 1)
    for one, of in enumerate(keys):
        takes_part = np.flatnonzero(counts[one])
        if of.numbered or len(set(counts[one, takes_part].tolist())) < 2:
            continue
        longest = int(counts[one].argmax())
        ends = {
            which: members[which].rows.end_ns[row[(key == one) & (member == which)]] for which in takes_part.tolist()
        }
        for which in takes_part.tolist():
            if counts[one, which] == counts[one, longest]:
                continue
            shift = _shift(ends[longest], ends[which])
            mine = (key == one) & (member == which)
            if shift is None:
                kept[mine] = False
                notes.append(
                    f"{names[which]} recorded {counts[one, which]:,} of the {counts[one, longest]:,} collectives "
                    f"{shown(of)} of {names[longest]}: which ones is not clear, and they are not compared."
                )
            else:
                number[mine] += shift
    return number, kept, notes


def _shift(ends: Int, fewer: Int) -> int | None:
    """How many of `ends` come before those that `fewer` are; None where that is not clear."""
    spare = len(ends) - len(fewer)
    if len(fewer) < FEWEST_TO_SHIFT or spare > MOST_SHIFTS:
        return None
    found = sorted((_misfit(ends[shift : shift + len(fewer)], fewer), shift) for shift in range(spare + 1))
    return found[0][1] if found[0][0] * CLEARLY < found[1][0] else None


def _misfit(ends: Int, others: Int) -> float:
    """How far apart ends are that are taken for the same, on clocks that are laid on one another by them."""
    clock = fit(ends, others)
    return float("inf") if clock is None else float(np.median(np.abs(clock.laid(others) - ends)))
