"""What the ranks of one stage measured, side by side, and whether they did the same work."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from llm_perf_opt.records.workload import BatchResult, Workload


@dataclass(frozen=True)
class TokenDifference:
    """The first place where two runs of the same samples generated different tokens."""

    batch: int
    row: int
    position: int
    """Of the new token, from 0."""
    first: int | None
    """The token of the first run; None where its text had ended."""
    second: int | None


def first_difference(first: Sequence[BatchResult], second: Sequence[BatchResult]) -> TokenDifference | None:
    """Where two runs part, by batch, row and position; None where all tokens are the same.

    Batches are paired in their order; what only one run has is no difference of tokens.
    """
    for number, (one, other) in enumerate(zip(first, second, strict=False)):
        for row, (ours, theirs) in enumerate(zip(one.new_ids, other.new_ids, strict=False)):
            if ours == theirs:
                continue
            position = next(
                (at for at, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1]),
                min(len(ours), len(theirs)),
            )
            return TokenDifference(
                number,
                row,
                position,
                ours[position] if position < len(ours) else None,
                theirs[position] if position < len(theirs) else None,
            )
    return None


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
