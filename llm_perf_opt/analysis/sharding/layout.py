"""Where each part of a model goes: the blocks as one rank has them, and the collectives that join the ranks again.

Two layouts. `plan` is what transformers' plan for the model type shards, and no more. `engine` is what serving engines
do with tensor parallelism: heads, MLPs, embedding and output head are cut; keys and values are cut as far as there are
heads and copied beyond that; a latent (MLA) is whole on every rank; a block's shared and routed experts are summed in
one collective. Experts are cut like the MLPs, or with expert parallelism dealt out whole.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from llm_perf_opt.analysis.sharding.local_experts import LocalExperts
from llm_perf_opt.analysis.sharding.shares import Routing, Split, equal, share
from llm_perf_opt.analysis.static.attention import Attention, CrossAttention
from llm_perf_opt.analysis.static.description import Block
from llm_perf_opt.analysis.static.entries import EntryAttention
from llm_perf_opt.analysis.static.operators import Experts, Linear, Operator, Table
from llm_perf_opt.analysis.static.passes import Pass
from llm_perf_opt.analysis.static.rows import Rows
from llm_perf_opt.analysis.static.source_attention import SourceAttention
from llm_perf_opt.analysis.static.state import CausalConvolution, Recurrence
from llm_perf_opt.errors import ConfigError

LayoutName = Literal["plan", "engine"]
CollectiveKind = Literal["all_reduce", "all_gather"]

_CUT_OUTPUTS = ("colwise", "packed_colwise")
_GATHERED = ("colwise_gather_output", "colwise_rep")
_CUT_INPUTS = ("rowwise", "rowwise_split_input", "rowwise_rep")
_FUSED = ("qkv_proj", "query_key_value", "W_pack")
_ENGINE: Mapping[str, str] = {
    r"embed_tokens": "embedding_rowwise",
    r"lm_head": "colwise_gather_output",
    r".*\.(q_proj|q_b_proj|kv_b_proj|gate_proj|up_proj|gate_up_proj)": "colwise",
    r".*\.(k_proj|v_proj)": "kv_heads",
    r".*\.(qkv_proj|query_key_value|W_pack)": "fused",
    r".*\.(o_proj|down_proj)": "rowwise",
}
"""Path below the base model → how serving engines cut it."""


@dataclass(frozen=True, slots=True)
class Collective:
    """One collective of every layer of a block, after `module`."""

    block: str
    module: str
    kind: CollectiveKind
    width: int
    """Elements that each rank hands in for each row."""
    rows: Rows
    repeat: int

    def elements(self, step: Pass) -> int:
        """What each rank hands in, over all layers and steps of a pass."""
        return self._rows(step) * self.width * self.repeat

    def calls(self, step: Pass) -> int:
        """How often it happens in a pass."""
        return self.repeat * step.steps if self._rows(step) else 0

    def _rows(self, step: Pass) -> int:
        return step.batch * step.logits if self.rows is Rows.LOGITS else step.tokens


@dataclass(frozen=True, slots=True)
class Laid:
    """One rank's part of a model."""

    blocks: tuple[Block, ...]
    collectives: tuple[Collective, ...]


def lay_out(
    blocks: Sequence[Block],
    layout: LayoutName,
    plan: Mapping[str, str] | None,
    split: Split,
    *,
    rank: int,
    routing: Routing = "even",
) -> Laid:
    """The part of `rank`.

    Args:
        plan: of transformers for the model type, for the layout of that name.
        routing: how many of the tokens come to this rank's experts, where they are dealt out whole.

    Raises:
        ConfigError: the layout does not cover the model, or its sizes do not divide.
    """
    laid: list[Block] = []
    collectives: list[Collective] = []
    for block in blocks:
        cutter = _Cutter(block, layout, plan or {}, split, rank, routing)
        done = [cutter.cut(operator) for operator in block.operators]
        laid.append(replace(block, operators=tuple(operator for operator, _ in done)))
        found = [collective for _, collective in done if collective is not None]
        collectives += _summed_once(found) if layout == "engine" else found
    return Laid(tuple(laid), tuple(collectives))


def path_of(block: Block, operator: Operator) -> str:
    """Path of an operator's module below the base model, as plans write it."""
    base = block.name.partition("[")[0]
    last = base.rpartition(".")[2]
    if last == "layers":
        return f"layers.*.{operator.name}"
    return last if operator.name in ("weight", "logits", "self", last) else f"{last}.{operator.name}"


def _summed_once(found: Sequence[Collective]) -> list[Collective]:
    """Of experts and the shared ones beside them, one sum instead of two."""
    routed = any(collective.module.endswith(".experts") for collective in found)
    return [collective for collective in found if not (routed and "shared_expert" in collective.module)]


@dataclass(frozen=True, slots=True)
class _Cutter:
    """Cuts the operators of one block for one rank."""

    block: Block
    layout: LayoutName
    plan: Mapping[str, str]
    split: Split
    rank: int
    routing: Routing

    def cut(self, operator: Operator) -> tuple[Operator, Collective | None]:
        """The operator as the rank has it, and the collective behind it."""
        path = path_of(self.block, operator)
        if isinstance(operator, Linear):
            return self._linear(operator, path)
        if isinstance(operator, Table):
            return self._table(operator, path)
        if isinstance(operator, Experts):
            return self._experts(operator, path)
        if isinstance(operator, Attention):
            return self._attention(operator, path), None
        if isinstance(operator, Recurrence | CausalConvolution | CrossAttention | EntryAttention | SourceAttention):
            raise ConfigError(
                f"{self.block.name}.{operator.name}: how a {operator.kind} is laid out over ranks is not covered",
                "leave out --tensor, or give a model whose layers keep keys and values",
            )
        return operator, None

    def _style(self, path: str) -> str | None:
        if self.layout == "plan":
            return self.plan.get(path)
        return next((style for pattern, style in _ENGINE.items() if re.fullmatch(pattern, path)), None)

    def _joined(self, kind: CollectiveKind, path: str, width: int, rows: Rows) -> Collective:
        return Collective(self.block.name, path, kind, width, rows, self.block.repeat)

    def _linear(self, operator: Linear, path: str) -> tuple[Linear, Collective | None]:
        ranks, style = self.split.tensor, self._style(path)
        rows = operator.rows if isinstance(operator.rows, Rows) else Rows.TOKENS
        if style in _CUT_OUTPUTS:
            return replace(operator, outputs=equal(operator.outputs, ranks, path)), None
        if style in ("kv_heads", "fused"):
            return replace(operator, outputs=self._key_outputs(operator, path, fused=style == "fused")), None
        if style in _GATHERED:
            width = share(operator.outputs, ranks, 0)
            local = replace(operator, outputs=share(operator.outputs, ranks, self.rank))
            return local, self._joined("all_gather", path, width, rows)
        if style in _CUT_INPUTS:
            local = replace(operator, inputs=equal(operator.inputs, ranks, path))
            return local, self._joined("all_reduce", path, operator.outputs, rows)
        return operator, None

    def _table(self, operator: Table, path: str) -> tuple[Table, Collective | None]:
        if self._style(path) != "embedding_rowwise" or operator.gathered is not None:
            return operator, None
        local = replace(operator, rows=share(operator.rows, self.split.tensor, self.rank))
        return local, self._joined("all_reduce", path, operator.width, Rows.TOKENS)

    def _experts(self, operator: Experts, path: str) -> tuple[Experts, Collective | None]:
        if self.layout == "plan" and self.split.expert == 1 and self.plan.get(path) != "moe_tp_experts":
            return operator, None
        inner = self.split.ranks_per_expert
        *first, last = operator.projections
        cut = (
            *((i, equal(o, inner, path)) for i, o in first),
            (equal(last[0], inner, path), last[1]),
        )
        joined = self._joined("all_reduce", path, last[1], operator.rows)
        if self.split.expert == 1:
            return replace(operator, projections=cut), joined
        equal(operator.count, self.split.expert, f"{path}: experts")
        local = LocalExperts(
            name=operator.name,
            count=operator.count,
            top_k=operator.top_k,
            projections=cut,
            bias=operator.bias,
            quantizable=operator.quantizable,
            dense=operator.dense,
            rows=operator.rows,
            group=self.rank // inner,
            groups=self.split.expert,
            routing=self.routing,
        )
        return local, joined

    def _attention(self, operator: Attention, path: str) -> Attention:
        ranks = self.split.tensor
        if self.layout == "plan":
            queries, keys = self._cut_in_plan(path)
            if not queries:
                return operator
            cache = operator.cache_elements
            if keys:
                whole = self._key_heads(operator)
                cache = cache // whole * equal(whole, ranks, f"{path}: heads of keys and values")
            return replace(operator, heads=equal(operator.heads, ranks, path), cache_elements=cache)
        heads = equal(operator.heads, ranks, path)
        if self._latent:
            return replace(operator, heads=heads)
        whole = self._key_heads(operator)
        return replace(operator, heads=heads, cache_elements=operator.cache_elements // whole * self._kept(whole, path))

    def _cut_in_plan(self, path: str) -> tuple[bool, bool]:
        """Whether the plan leaves each rank queries, and keys, of its own."""
        parent = path.rpartition(".")[0]

        def cut(*names: str) -> bool:
            return any(self.plan.get(f"{parent}.{name}") in _CUT_OUTPUTS for name in names)

        return cut("q_proj", "q_b_proj", *_FUSED), cut("k_proj", *_FUSED)

    @property
    def _latent(self) -> bool:
        return any("kv_a_proj" in operator.name for operator in self.block.operators)

    def _key_heads(self, attention: Attention) -> int:
        """Heads of keys and values of the whole layer."""
        for operator in self.block.operators:
            if isinstance(operator, Linear) and operator.name.endswith("k_proj"):
                return operator.outputs // attention.qk_dim
            if isinstance(operator, Linear) and operator.name.endswith(_FUSED):
                return (operator.outputs - attention.heads * attention.qk_dim) // (attention.qk_dim + attention.v_dim)
        return attention.cache_elements // (attention.qk_dim + attention.v_dim)

    def _kept(self, heads: int, path: str) -> int:
        """Heads of keys and values of one rank: a part, or one that other ranks have too."""
        ranks = self.split.tensor
        if heads % ranks and ranks % heads:
            raise ConfigError(
                f"{path}: {heads} heads of keys and values can neither be cut into nor copied over {ranks} ranks",
                "choose --tensor as a divisor or a multiple of them",
            )
        return max(1, heads // ranks)

    def _key_outputs(self, operator: Linear, path: str, *, fused: bool) -> int:
        attention = next(found for found in self.block.operators if isinstance(found, Attention))
        whole = self._key_heads(attention)
        kept = self._kept(whole, path)
        if not fused:
            return operator.outputs // whole * kept
        queries = equal(attention.heads, self.split.tensor, path) * attention.qk_dim
        return queries + kept * (attention.qk_dim + attention.v_dim)
