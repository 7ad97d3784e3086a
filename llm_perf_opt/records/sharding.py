"""What a model costs each rank it is spread over. Bytes and FLOPs of one rank unless said otherwise."""

from __future__ import annotations

from typing import Literal

from llm_perf_opt.records.base import Record
from llm_perf_opt.records.memory_fit import MemoryFit


class CollectiveFigures(Record):
    """The collectives behind one module, over all layers, in one phase."""

    module: str
    kind: Literal["all_reduce", "all_gather"]
    calls: int
    payload_bytes: int
    """What this rank hands in, over all calls."""
    sent_bytes: int
    """What it then sends on a ring of all ranks: twice (n - 1)/n of an all-reduce's, n - 1 times an all-gather's."""


class SharePhase(Record):
    """One rank in one phase."""

    flops: int
    """With experts dealt out whole: as many of the tokens' choices fall on this rank as on the others."""
    flops_least: int
    """As few choices as the router can make fall on it."""
    flops_most: int
    """As many."""
    weight_bytes: int
    """Weights read, under the routing that reads the fewest experts."""
    kv_bytes: int
    """Cache read and written."""
    activation_bytes: int
    """Inputs read and outputs written by every operator when nothing is fused."""
    collective_calls: int
    payload_bytes: int
    sent_bytes: int


class LayerShare(Record):
    """One layer of a block on the first rank, in one decode step or the whole prefill."""

    block: str
    layers: int
    """How many of it there are."""
    parameters: int
    weight_bytes: int
    """As stored."""
    kv_bytes_per_token: int
    prefill_flops: int
    decode_flops: int
    prefill_activation_bytes: int
    decode_activation_bytes: int
    prefill_payload_bytes: int
    decode_payload_bytes: int


class RankShare(Record):
    """One rank."""

    rank: int
    parameters: int
    weight_bytes: int
    """As stored."""
    kv_bytes: int
    """Cache of the whole batch after the last token."""
    activation_bytes: int
    """Working set: input and output of the widest operator, and the logits."""
    prefill: SharePhase
    decode: SharePhase
    """One step."""


class PhaseSum(Record):
    """All ranks together in one phase."""

    flops: int
    """Sum over the ranks: what is not cut is computed by each of them."""
    whole_flops: int
    """Of the model in one process."""
    payload_bytes: int


class JointBound(Record):
    """How fast a phase can be at best on these GPUs; null where a rate is not known."""

    compute_ms: float | None
    memory_ms: float
    communication_ms: float | None
    bound_ms: float | None
    """The largest of the three: everything overlaps."""
    in_turn_ms: float | None
    """Communication behind the larger of the others: nothing of it overlaps."""
    limited_by: Literal["compute", "memory", "communication"] | None


class JointGpu(Record):
    """The model on as many GPUs of one kind as there are ranks."""

    name: str
    title: str
    gpus: int
    machines: int | None
    """By how many GPUs its links join; null where that is not known."""
    prefill: JointBound
    decode: JointBound
    memory: MemoryFit
    """Of the rank that holds the most."""
    reasons: dict[str, str]
    sources: tuple[str, ...]


class Sharding(Record):
    """A model over ranks."""

    layout: Literal["plan", "engine"]
    tensor: int
    expert: int
    assumptions: tuple[str, ...]
    ranks: tuple[RankShare, ...]
    prefill: PhaseSum
    decode: PhaseSum
    layers: tuple[LayerShare, ...]
    """Of the first rank."""
    prefill_collectives: tuple[CollectiveFigures, ...]
    """Of the first rank."""
    decode_collectives: tuple[CollectiveFigures, ...]
    gpus: tuple[JointGpu, ...] = ()
