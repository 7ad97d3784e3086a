"""Ranks of one job side by side: where the time of each went, and whom the others waited for."""

from __future__ import annotations

from llm_perf_opt.records.device_timeline import DeviceTimeline, RankTime
from llm_perf_opt.records.ranks import CollectiveSkew, RankComparison
from llm_perf_opt.reports.document import Block, Items, Paragraph, Section, Table
from llm_perf_opt.reports.facts import RunFacts
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.units import percent, significant

LARGEST = 10
READING = (
    "Time in collectives that end at one time on all ranks is split at the arrival of the last rank: until then a rank "
    "waited (skew), from then on it exchanged (transfer). Late is how much later a rank came than the middle one. "
    "Where arrivals differ by no more than the clocks agree, the time is neither: cannot tell. The other parts of a "
    "rank are those of its devices added up, as in the device time line; ranks on CPUs have none. Clocks are against "
    "that of the first rank."
)


def section(facts: RunFacts) -> Section | None:
    blocks: list[Block] = []
    for _, record in facts.all(DeviceTimeline):
        if record.rank_comparison is not None:
            blocks += rank_blocks(record.ranks, record.rank_comparison)
    return Section("Ranks", (*blocks, Paragraph(READING))) if blocks else None


def rank_blocks(ranks: tuple[RankTime, ...], found: RankComparison) -> list[Block]:
    """The answer first, then what it is made of."""
    blocks: list[Block] = [Paragraph(found.answer)]
    blocks += [_times(ranks)] if any(rank.devices for rank in ranks) else []
    blocks.append(_collectives(ranks))
    if found.doing:
        who = f"for rank {found.straggler}"
        did = (f"While others waited {_ms(row.late_ns)} ms {who}: {row.what}." for row in found.doing[:LARGEST])
        blocks.append(Items(tuple(did)))
    if found.largest:
        blocks.append(_largest(found.largest[:LARGEST]))
    return [*blocks, Items(lines)] if (lines := tuple(_remarks(ranks, found))) else blocks


def _times(ranks: tuple[RankTime, ...]) -> Table:
    rows = tuple(
        (
            str(rank.rank),
            _ms(rank.wall_ns),
            percent(rank.busy_ns / rank.wall_ns) if rank.wall_ns else "—",
            *map(_ms, (rank.compute_ns, rank.communication_ns, rank.exposed_communication_ns, rank.exposed_copy_ns)),
            _ms(rank.idle_ns),
        )
        for rank in ranks
    )
    columns: tuple[str, ...] = ("rank", "wall ms", "busy", "compute ms", "communication ms", "exposed communication ms")
    columns += ("exposed copies ms", "idle ms")
    return Table(columns, rows, numeric=frozenset(range(len(columns))))


def _collectives(ranks: tuple[RankTime, ...]) -> Table:
    rows = tuple(
        (
            str(rank.rank),
            f"{rank.compared:,} of {rank.collectives:,}",
            *map(_known, (rank.skew_ns, rank.transfer_ns, rank.untold_ns, rank.late_ns)),
            "—" if rank.last is None else f"{rank.last:,}",
            _known(rank.offset_ns),
            significant(rank.drift_ppm),
        )
        for rank in ranks
    )
    columns: tuple[str, ...] = (
        "rank",
        "collectives compared",
        "skew ms",
        "transfer ms",
        "cannot tell ms",
        "late ms",
        "times last",
    )
    columns += ("clock ahead ms", "drift ppm")
    return Table(columns, rows, numeric=frozenset(range(len(columns))))


def _largest(rows: tuple[CollectiveSkew, ...]) -> Table:
    cells = tuple(
        (
            row.collective,
            str(row.ranks),
            *map(_ms, (row.skew_ns, row.late_ns, row.transfer_ns)),
            str(row.last),
            row.doing or "not recorded",
        )
        for row in rows
    )
    columns = ("collective", "ranks", "skew ms", "late ms", "transfer ms", "last rank", "what it did meanwhile")
    return Table(columns, cells, numeric=frozenset(range(1, 6)))


def _remarks(ranks: tuple[RankTime, ...], found: RankComparison) -> list[str]:
    lines = []
    if found.error_ns is not None:
        lines.append(
            f"{found.collectives:,} collectives were compared, matched by {' or '.join(found.matched_by)}. With "
            f"{_clocks(found.clocks)}, 95 % of them end within {significant(found.error_ns / 1e3)} µs on all ranks: "
            f"less skew than that cannot be told; {found.told:,} have more."
        )
        # Where none could be compared the answer says why.
        lines += [f"Rank {rank.rank} could not be compared: {rank.reason}." for rank in ranks if rank.reason]
    return [*lines, *found.notes]


def _clocks(number: int) -> str:
    return "one clock" if number == 1 else f"{number:,} clocks, laid on one another by these ends"


def _known(value_ns: int | None) -> str:
    return "—" if value_ns is None else _ms(value_ns)


def _ms(value_ns: int) -> str:
    return significant(value_ns / 1e6)


SECTION = ReportSection(34, section)
