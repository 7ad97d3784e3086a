"""The ranks of a model on as many GPUs of one kind: bounds with what joins them, memory fit, largest batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llm_perf_opt.analysis.sharding.shares import Split
from llm_perf_opt.analysis.static import walk
from llm_perf_opt.analysis.static.bounds import Footprint, Limits, bound, limits
from llm_perf_opt.analysis.static.precision import Precision
from llm_perf_opt.hardware.gpu import Gpu, Interconnect
from llm_perf_opt.records.sharding import CollectiveFigures, JointBound, JointGpu

NO_LINK = "the catalogue knows no rate of what joins these GPUs"


@dataclass(frozen=True, slots=True)
class PhaseWork:
    """One phase on the rank that has the most to do."""

    rows: Sequence[walk.Row]
    collectives: Sequence[CollectiveFigures]
    tokens: int


def sent_bytes(kind: str, payload: int, ranks: int) -> int:
    """What a rank sends for a collective on a ring of all ranks, handing in `payload` bytes."""
    return 2 * (ranks - 1) * payload // ranks if kind == "all_reduce" else (ranks - 1) * payload


def on_gpus(
    gpu: Gpu,
    needs: Sequence[Footprint],
    prefill: PhaseWork,
    decode: PhaseWork,
    split: Split,
    *,
    batch: int,
    precision: Precision,
) -> JointGpu:
    """All figures of `split.tensor` GPUs of one kind.

    Args:
        needs: what each rank keeps.
    """
    limit = limits(gpu, [*prefill.rows, *decode.rows], precision)
    link = gpu.interconnect
    machines = None if link is None else -(-split.tensor // link.link_gpus)
    reasons = dict(limit.reasons)
    if link is None:
        reasons["communication_ms"] = NO_LINK
    elif machines != 1 and link.network_gbs is None:
        reasons["communication_ms"] = f"{link.link} joins {link.link_gpus} GPUs, and no rate between machines is known"
    return JointGpu(
        name=gpu.id,
        title=gpu.title,
        gpus=split.tensor,
        machines=machines,
        prefill=_bound(prefill, limit, link, split.tensor),
        decode=_bound(decode, limit, link, split.tensor),
        memory=min((need.fit(gpu, batch) for need in needs), key=lambda fit: fit.largest_batch),
        reasons=reasons,
        sources=tuple(
            dict.fromkeys((*gpu.sources["compute"], *gpu.sources["memory"], *(link.sources if link else ())))
        ),
    )


def _bound(work: PhaseWork, limit: Limits, link: Interconnect | None, ranks: int) -> JointBound:
    alone = bound(work.rows, work.tokens, limit)
    seconds = None if link is None else communication_s(work.collectives, link, ranks)
    sent_ms = None if seconds is None else seconds * 1e3
    known = alone.bound_ms is not None and sent_ms is not None
    times = {"compute": alone.compute_ms or 0.0, "memory": alone.memory_ms, "communication": sent_ms or 0.0}
    return JointBound(
        compute_ms=alone.compute_ms,
        memory_ms=alone.memory_ms,
        communication_ms=sent_ms,
        bound_ms=max(times.values()) if known else None,
        in_turn_ms=(alone.bound_ms or 0.0) + (sent_ms or 0.0) if known else None,
        limited_by=max(times, key=lambda name: times[name]) if known else None,
    )


def communication_s(collectives: Sequence[CollectiveFigures], link: Interconnect, ranks: int) -> float | None:
    """Least seconds of the collectives, latency left aside; None where the ranks are on machines with no known rate.

    Within a machine on rings of its GPUs; between machines each GPU carries its part of what its machine sends.
    """
    machines = -(-ranks // link.link_gpus)
    inside = min(ranks, link.link_gpus)
    if machines > 1 and link.network_gbs is None:
        return None
    total = 0.0
    for found in collectives:
        if machines == 1:
            total += found.sent_bytes / (link.link_gbs * 1e9)
            continue
        assert link.network_gbs is not None
        if found.kind == "all_reduce":
            within = 2 * (inside - 1) / inside * found.payload_bytes
            between = 2 * (machines - 1) / machines * found.payload_bytes / inside
        else:
            within = (ranks - machines) * found.payload_bytes
            between = (machines - 1) * found.payload_bytes
        total += max(within / (link.link_gbs * 1e9), between / (link.network_gbs * 1e9))
    return total
