"""What the ranks of one stage measured, side by side."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from llm_perf_opt.records.workload import Workload


@dataclass(frozen=True)
class RankFigures:
    """One rank's own measurements: medians over its timed repeats."""

    rank: int
    host: str
    device: str
    weight_bytes: int
    peak_bytes: int | None
    load_s: float
    prefill_ms: float | None
    tpot_ms: float | None
    """Decode time per token after the first."""


def rank_figures(workloads: Sequence[Workload]) -> list[RankFigures]:
    """The ranks of a stage, in their order."""
    return [_figures(workload) for workload in workloads if workload.rank is not None]


def _figures(workload: Workload) -> RankFigures:
    assert workload.rank is not None
    repeats = [repeat for batch in workload.batches for repeat in batch.repeats]
    per_token = [
        repeat.decode_ms / len(repeat.step_ms) for repeat in repeats if repeat.decode_ms is not None and repeat.step_ms
    ]
    return RankFigures(
        rank=workload.rank.rank,
        host=workload.rank.host,
        device=workload.device.device,
        weight_bytes=workload.rank.weight_bytes,
        peak_bytes=workload.memory.peak_bytes,
        load_s=workload.load_s,
        prefill_ms=statistics.median(repeat.prefill_ms for repeat in repeats) if repeats else None,
        tpot_ms=statistics.median(per_token) if per_token else None,
    )
