"""The ranks of a sharded model side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llm_perf_opt.analysis.answers import compare_answers, said
from llm_perf_opt.analysis.sharding.ranks import rank_figures
from llm_perf_opt.records.inputs import Sample
from llm_perf_opt.reports.document import Block, Items, Section, Table
from llm_perf_opt.reports.facts import RankRecords, RunFacts
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.units import in_bytes, significant

COLUMNS = ("rank", "host", "device", "weights", "peak memory", "load s", "prefill ms", "decode ms/token")


def section(facts: RunFacts) -> Section | None:
    blocks: list[Block] = []
    samples = () if facts.setup is None else facts.setup.inputs.samples
    for stage, ranks in facts.ranks.items():
        rows = tuple(
            (
                str(found.rank),
                found.host,
                found.device,
                in_bytes(found.weight_bytes),
                in_bytes(found.peak_bytes),
                significant(found.load_s),
                significant(found.prefill_ms),
                significant(found.tpot_ms),
            )
            for found in rank_figures([rank.workload for rank in ranks])
        )
        blocks.append(
            Table(COLUMNS, rows, numeric=frozenset({0, 3, 4, 5, 6, 7}), names=frozenset({1}), important=(0, 6, 7, 4))
        )
        blocks.append(Items(tuple(remarks_on(stage, ranks, samples))))
    return Section("Ranks side by side", tuple(blocks)) if blocks else None


def remarks_on(stage: str, ranks: Sequence[RankRecords], samples: Sequence[Sample]) -> list[str]:
    """Whose figures are quoted, which ranks are missing, and whether all made the same tokens."""
    first = ranks[0].workload
    assert first.rank is not None
    remarks = [
        f"{stage}: medians of each rank by its own clock; figures elsewhere are of rank 0. Ranks wait for one another "
        f"at the edges of phases and in the collectives ({first.rank.backend}), nowhere else.",
    ]
    if len(ranks) < first.rank.world_size:
        remarks.append(f"{first.rank.world_size - len(ranks)} of {first.rank.world_size} ranks left no record.")
    missing = [str(rank) for rank, found in enumerate(ranks) if found.tokens is None]
    if missing:
        remarks.append(f"Whether all made the same tokens is not known: rank {', '.join(missing)} left none.")
    for other in ranks[1:]:
        remarks += _other_tokens(ranks[0], other, samples)
    if len(remarks) == 1:
        remarks.append("All ranks made the same tokens.")
    return remarks


def _other_tokens(first: RankRecords, other: RankRecords, samples: Sequence[Sample]) -> Iterator[str]:
    if first.tokens is None or other.tokens is None or other.workload.rank is None:
        return
    found = compare_answers([said(first.tokens)], [said(other.tokens)], samples)
    for difference in found.differences[:1]:
        yield (
            f"Rank {other.workload.rank.rank} made other tokens than rank 0: first of {difference.source}, new token "
            f"{difference.position}: {difference.token_a} on rank 0, {difference.token_b} there."
        )


SECTION = ReportSection(32, section)
