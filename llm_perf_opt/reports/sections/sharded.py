"""The ranks of a sharded model side by side."""

from __future__ import annotations

from collections.abc import Sequence

from llm_perf_opt.analysis.sharding.ranks import first_difference, rank_figures
from llm_perf_opt.records.workload import Workload
from llm_perf_opt.reports.document import Block, Items, Section, Table
from llm_perf_opt.reports.facts import RunFacts
from llm_perf_opt.reports.section import ReportSection
from llm_perf_opt.reports.units import in_bytes, significant

COLUMNS = ("rank", "host", "device", "weights", "peak memory", "load s", "prefill ms", "decode ms/token")


def section(facts: RunFacts) -> Section | None:
    blocks: list[Block] = []
    for stage, workloads in facts.ranks.items():
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
            for found in rank_figures(workloads)
        )
        blocks.append(
            Table(COLUMNS, rows, numeric=frozenset({0, 3, 4, 5, 6, 7}), names=frozenset({1}), important=(0, 6, 7, 4))
        )
        blocks.append(Items(tuple(_remarks(stage, workloads))))
    return Section("Ranks side by side", tuple(blocks)) if blocks else None


def _remarks(stage: str, workloads: Sequence[Workload]) -> list[str]:
    first = workloads[0]
    assert first.rank is not None
    remarks = [
        f"{stage}: medians of each rank by its own clock; figures elsewhere are of rank 0. Ranks wait for one another "
        f"at the edges of phases and in the collectives ({first.rank.backend}), nowhere else.",
    ]
    if len(workloads) < first.rank.world_size:
        remarks.append(f"{first.rank.world_size - len(workloads)} of {first.rank.world_size} ranks left no record.")
    for other in workloads[1:]:
        assert other.rank is not None
        found = first_difference(first.batches, other.batches)
        if found is not None:
            remarks.append(
                f"Rank {other.rank.rank} made other tokens than rank 0: first in batch {found.batch}, row {found.row}, "
                f"new token {found.position}: {found.first} on rank 0, {found.second} there."
            )
    if len(remarks) == 1:
        remarks.append("All ranks made the same tokens.")
    return remarks


SECTION = ReportSection(32, section)
