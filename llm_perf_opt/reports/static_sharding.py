"""The sections of a static report on a model over ranks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from llm_perf_opt.records.sharding import CollectiveFigures, JointBound, JointGpu, RankShare, Sharding, SharePhase
from llm_perf_opt.reports.document import Block, Items, Section, Table
from llm_perf_opt.reports.units import scaled, significant

_FIT = {True: "fits", False: "does not fit"}


def sharding_sections(found: Sharding) -> list[Section]:
    """Ranks, layers, collectives, GPUs, and what was assumed."""
    experts = f", experts in {found.expert} groups" if found.expert > 1 else ""
    title = f"{found.tensor} ranks, layout {found.layout}{experts}"
    return [
        Section(title, (_ranks(found), Items(tuple(_sums(found))))),
        Section("By layer, on rank 0", (_layers(found),)),
        Section("Collectives, on rank 0", tuple(_collectives(found))),
        *(_gpu(gpu) for gpu in found.gpus),
        Section("How it is laid out", (Items(found.assumptions),)),
    ]


def _ranks(found: Sharding) -> Table:
    columns = (
        "ranks", "parameters", "weights", "KV cache", "working set", "prefill FLOPs", "decode FLOPs", "prefill sent",
        "decode sent",
    )  # fmt: skip
    rows = tuple(_rank_row(first, last) for first, last in _alike(found.ranks))
    return Table(columns, rows, numeric=frozenset(range(1, 9)), important=(0, 2, 3, 5, 6, 8))


def _alike(ranks: Sequence[RankShare]) -> Iterator[tuple[RankShare, RankShare]]:
    """(first, last) of each run of ranks with the same figures."""
    first = ranks[0]
    for before, rank in itertools.pairwise(ranks):
        if rank.model_copy(update={"rank": 0}) != first.model_copy(update={"rank": 0}):
            yield first, before
            first = rank
    yield first, ranks[-1]


def _rank_row(first: RankShare, last: RankShare) -> tuple[str, ...]:
    name = str(first.rank) if first.rank == last.rank else f"{first.rank}-{last.rank}"
    return (
        name,
        f"{first.parameters:,}",
        scaled(first.weight_bytes, "B"),
        scaled(first.kv_bytes, "B"),
        scaled(first.activation_bytes, "B"),
        f"{first.prefill.flops:,}",
        f"{first.decode.flops:,}",
        scaled(first.prefill.sent_bytes, "B"),
        scaled(first.decode.sent_bytes, "B"),
    )


def _sums(found: Sharding) -> Iterator[str]:
    for name, total in (("prefill", found.prefill), ("decode step", found.decode)):
        more = total.flops - total.whole_flops
        again = f", {more:,} of them done more than once" if more else ", the same as in one process"
        yield (
            f"{name}: {total.flops:,} FLOPs on all ranks together{again}; {total.payload_bytes:,} bytes handed to "
            "collectives"
        )
    for name, phase in (("prefill", found.ranks[0].prefill), ("decode step", found.ranks[0].decode)):
        if phase.flops_least != phase.flops_most:
            yield f"{name}: {_routed(phase)}"


def _routed(phase: SharePhase) -> str:
    parts = " / ".join(f"{value:,}" for value in (phase.flops_least, phase.flops, phase.flops_most))
    return f"FLOPs of rank 0 depend on expert routing, least / even / most: {parts}; the sum over ranks does not"


def _layers(found: Sharding) -> Table:
    columns = (
        "block", "layers", "parameters", "weights", "KV B/token", "prefill FLOPs", "decode FLOPs",
        "prefill activations", "decode activations", "prefill collectives", "decode collectives",
    )  # fmt: skip
    rows = tuple(
        (
            layer.block,
            str(layer.layers),
            f"{layer.parameters:,}",
            scaled(layer.weight_bytes, "B"),
            f"{layer.kv_bytes_per_token:,}",
            f"{layer.prefill_flops:,}",
            f"{layer.decode_flops:,}",
            scaled(layer.prefill_activation_bytes, "B"),
            scaled(layer.decode_activation_bytes, "B"),
            scaled(layer.prefill_payload_bytes, "B"),
            scaled(layer.decode_payload_bytes, "B"),
        )
        for layer in found.layers
    )
    return Table(columns, rows, numeric=frozenset(range(1, 11)), names=frozenset({0}), important=(0, 1, 3, 5, 6, 10))


def _collectives(found: Sharding) -> Iterator[Block]:
    for name, items in (("prefill", found.prefill_collectives), ("decode step", found.decode_collectives)):
        rows = tuple(_collective_row(item) for item in items if item.calls)
        columns = (f"{name}: after", "collective", "calls", "handed in", "sent")
        yield Table(columns, rows, numeric=frozenset({2, 3, 4}), names=frozenset({0}))


def _collective_row(item: CollectiveFigures) -> tuple[str, ...]:
    return (
        item.module,
        item.kind.replace("_", "-"),
        f"{item.calls:,}",
        f"{item.payload_bytes:,}",
        scaled(item.sent_bytes, "B"),
    )


def _gpu(gpu: JointGpu) -> Section:
    columns = ("phase", "compute ms", "memory ms", "communication ms", "bound ms", "limited by", "in turn ms")
    rows = (_bound_row("prefill", gpu.prefill), _bound_row("decode step", gpu.decode))
    need = gpu.memory
    remarks = [
        f"each needs {scaled(need.total_bytes, 'B')} of {scaled(need.memory_bytes, 'B')} (weights "
        f"{scaled(need.weight_bytes, 'B')}, cache {scaled(need.kv_bytes, 'B')}, working set "
        f"{scaled(need.activation_bytes, 'B')}): {_FIT[need.fits]}; largest batch at these lengths: "
        f"{need.largest_batch:,}",
        "bound: compute, memory and communication all overlap; in turn: communication does not",
        *(f"{path}: {reason}" for path, reason in sorted(gpu.reasons.items())),
        *(f"source: {source}" for source in gpu.sources),
    ]
    where = f" on {gpu.machines} machines" if gpu.machines is not None and gpu.machines > 1 else ""
    table = Table(columns, rows, numeric=frozenset({1, 2, 3, 4, 6}), important=(0, 4, 5, 3))
    return Section(f"{gpu.gpus} × {gpu.title} ({gpu.name}){where}", (table, Items(tuple(remarks))))


def _bound_row(name: str, bound: JointBound) -> tuple[str, ...]:
    times = (bound.compute_ms, bound.memory_ms, bound.communication_ms, bound.bound_ms)
    return (name, *map(significant, times), bound.limited_by or "—", significant(bound.in_turn_ms))
