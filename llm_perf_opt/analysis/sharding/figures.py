"""What each rank of a sharded model computes, holds and sends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llm_perf_opt.analysis.sharding.joint import PhaseWork, on_gpus, sent_bytes
from llm_perf_opt.analysis.sharding.layout import Laid, LayoutName, lay_out, path_of
from llm_perf_opt.analysis.sharding.shares import Routing, Split
from llm_perf_opt.analysis.sharding.tp_plan import image_type_with_plan, tensor_plan, text_type
from llm_perf_opt.analysis.static import walk
from llm_perf_opt.analysis.static.analyze import (
    DescribedModel,
    context_of,
    decode_rows,
    describe_model,
    prefill_passes,
    prefill_rows,
)
from llm_perf_opt.analysis.static.bounds import Footprint, footprint
from llm_perf_opt.analysis.static.description import Block, Description
from llm_perf_opt.analysis.static.passes import Pass, decode_step
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.hardware.gpu import Gpu
from llm_perf_opt.records.sharding import CollectiveFigures, LayerShare, PhaseSum, RankShare, Sharding, SharePhase
from llm_perf_opt.records.static import StaticRequest

_PARTS_OF_EXPERTS = (".experts.gate_up_proj", ".experts.down_proj", ".experts.gate_proj", ".experts.up_proj")


@dataclass(frozen=True, slots=True)
class Part:
    """One rank's part of a described model, under one routing."""

    whole: DescribedModel
    laid: Laid
    request: StaticRequest
    ranks: int

    @property
    def model(self) -> DescribedModel:
        """The part as if it were a model."""
        description = replace(self.whole.description, blocks=self.laid.blocks)
        return replace(self.whole, description=description, stored=None)

    @property
    def prefill(self) -> tuple[Pass, ...]:
        return prefill_passes(self.request, self.whole.prompt(self.request))

    @property
    def decode(self) -> tuple[Pass, ...]:
        """One step."""
        return (decode_step(self.request.batch, context_of(self.whole, self.request)),)

    @property
    def need(self) -> Footprint:
        """What the rank keeps; logits are gathered, so that all of them are on every rank."""
        request, prompt = self.request, self.whole.prompt(self.request)
        step = min(prompt, request.prefill_chunk or prompt)
        return footprint(
            (*self.laid.blocks[:-1], self.whole.decoder[-1]),
            self.whole.precision,
            weights=self.model.weight_bytes,
            end=max(prompt + request.new_tokens, (request.context or 0) + 1),
            step=step,
            logits=step if request.logits == "all" else 1,
        )

    def collectives(self, passes: Sequence[Pass]) -> tuple[CollectiveFigures, ...]:
        """What the rank takes part in, module by module."""
        element = self.whole.precision.activation_element_bytes()
        found = []
        for item in self.laid.collectives:
            payload = round(sum(item.elements(step) for step in passes) * element)
            found.append(
                CollectiveFigures(
                    module=f"{item.block}: {item.module}",
                    kind=item.kind,
                    calls=sum(item.calls(step) for step in passes),
                    payload_bytes=payload,
                    sent_bytes=sent_bytes(item.kind, payload, self.ranks),
                )
            )
        return tuple(found)


def sharding(
    model_config: Mapping[str, Any],
    request: StaticRequest,
    split: Split,
    layout: LayoutName,
    gpus: Sequence[Gpu] = (),
    *,
    where: str = "config.json",
    description: Description | None = None,
) -> Sharding:
    """The figures of every rank.

    Args:
        description: the model as traced; None reads its closed form.

    Raises:
        ConfigError: the model has no plan, its sizes do not divide, or how it is laid out is not covered.
    """
    plan = _plan(model_config, split, layout, where)
    whole = describe_model(model_config, request, where=where, description=description)
    whole.check_decodes("--tensor")
    request = whole.fitted(request)

    def part(rank: int, routing: Routing) -> Part:
        laid = lay_out(whole.decoder, layout, plan, split, rank=rank, routing=routing)
        return Part(whole, laid, request, split.tensor)

    even = [part(rank, "even") for rank in range(split.tensor)]
    needs = _needs(even)
    shares = tuple(
        _share(rank, needs[rank], found, part(rank, "least"), part(rank, "most")) for rank, found in enumerate(even)
    )
    first = even[0]
    return Sharding(
        layout=layout,
        tensor=split.tensor,
        expert=split.expert,
        assumptions=(*_assumptions(whole, layout, plan, split), *_of_images(model_config, whole, layout)),
        ranks=shares,
        prefill=_sum([found.prefill for found in shares], prefill_rows(whole, request)),
        decode=_sum([found.decode for found in shares], decode_rows(whole, request)),
        layers=tuple(_layers(first)),
        prefill_collectives=first.collectives(first.prefill),
        decode_collectives=first.collectives(first.decode),
        gpus=tuple(
            on_gpus(
                gpu,
                needs,
                PhaseWork(prefill_rows(first.model, request), first.collectives(first.prefill), 0),
                PhaseWork(decode_rows(first.model, request), first.collectives(first.decode), 0),
                split,
                batch=request.batch,
                precision=whole.precision,
            )
            for gpu in gpus
        ),
    )


def _plan(model_config: Mapping[str, Any], split: Split, layout: LayoutName, where: str) -> Mapping[str, str] | None:
    if layout == "engine":
        return None
    model_type = text_type(model_config)
    plan = tensor_plan(model_type)
    if plan is None:
        raise ConfigError(
            f"{where}: transformers has no plan to shard a {model_type} model by", "ask for --layout engine"
        )
    if split.expert not in (1, split.tensor):
        raise ConfigError(
            f"--expert {split.expert}: transformers deals experts out over all of the {split.tensor} ranks or none",
            f"set --expert {split.tensor}, or ask for --layout engine",
        )
    return plan


def _needs(parts: Sequence[Part]) -> list[Footprint]:
    """What each rank keeps. Of one token's choices some ranks have one more than others: all are given its room."""
    found = [part.need for part in parts]
    widest = max(need.activations_per_sequence for need in found)
    return [replace(need, activations_per_sequence=widest) for need in found]


def _share(rank: int, need: Footprint, even: Part, least: Part, most: Part) -> RankShare:
    return RankShare(
        rank=rank,
        parameters=walk.parameters(even.model.blocks)[0],
        weight_bytes=need.weights,
        kv_bytes=need.kv_per_sequence * even.request.batch,
        activation_bytes=need.activations_per_sequence * even.request.batch,
        prefill=_phase(even, even.prefill, *(prefill_rows(part.model, part.request) for part in (even, least, most))),
        decode=_phase(even, even.decode, *(decode_rows(part.model, part.request) for part in (even, least, most))),
    )


def _phase(
    part: Part,
    passes: Sequence[Pass],
    even: Sequence[walk.Row],
    least: Sequence[walk.Row],
    most: Sequence[walk.Row],
) -> SharePhase:
    collectives = part.collectives(passes)
    return SharePhase(
        flops=sum(row.flops for row in even),
        flops_least=sum(row.flops for row in least),
        flops_most=sum(row.flops for row in most),
        weight_bytes=round(sum(row.weight_least for row in even)),
        kv_bytes=round(sum(row.kv for row in even)),
        activation_bytes=round(sum(row.activation for row in even)),
        collective_calls=sum(found.calls for found in collectives),
        payload_bytes=sum(found.payload_bytes for found in collectives),
        sent_bytes=sum(found.sent_bytes for found in collectives),
    )


def _sum(shares: Sequence[SharePhase], whole: Sequence[walk.Row]) -> PhaseSum:
    return PhaseSum(
        flops=sum(found.flops for found in shares),
        whole_flops=sum(row.flops for row in whole),
        payload_bytes=sum(found.payload_bytes for found in shares),
    )


def _layers(part: Part) -> Iterator[LayerShare]:
    precision = part.whole.precision
    element = precision.activation_element_bytes()
    for block in part.laid.blocks:
        one = replace(block, repeat=1)
        prefill, decode = (walk.rows([one], passes, precision) for passes in (part.prefill, part.decode))

        def payload(block: Block, passes: Sequence[Pass]) -> int:
            mine = [item for item in part.laid.collectives if item.block == block.name]
            return round(sum(item.elements(step) // item.repeat for item in mine for step in passes) * element)

        yield LayerShare(
            block=block.name,
            layers=block.repeat,
            parameters=walk.parameters([one])[0],
            weight_bytes=walk.stored_bytes([one], precision),
            kv_bytes_per_token=walk.cache_bytes([one], 2, precision) - walk.cache_bytes([one], 1, precision),
            prefill_flops=sum(row.flops for row in prefill),
            decode_flops=sum(row.flops for row in decode),
            prefill_activation_bytes=round(sum(row.activation for row in prefill)),
            decode_activation_bytes=round(sum(row.activation for row in decode)),
            prefill_payload_bytes=payload(block, part.prefill),
            decode_payload_bytes=payload(block, part.decode),
        )


def _assumptions(
    whole: DescribedModel, layout: LayoutName, plan: Mapping[str, str] | None, split: Split
) -> Iterator[str]:
    if plan is not None:
        yield "cut as transformers' plan for the model type says; what the plan does not name is whole on every rank"
        paths = {path_of(block, operator) for block in whole.decoder for operator in block.operators}
        unmatched = sorted(path for path in plan if path not in paths and not path.endswith(_PARTS_OF_EXPERTS))
        if unmatched:
            yield f"rules of the plan for modules that this model does not have: {', '.join(unmatched)}"
    else:
        yield (
            "cut as serving engines do: heads, MLPs, embedding and output head; one sum after attention and one after "
            "the MLP or the experts"
        )
        if any("kv_a_proj" in operator.name for block in whole.decoder for operator in block.operators):
            yield "the cached latent, and the projections that make it, are whole on every rank"
    if split.expert > 1:
        yield (
            f"experts are dealt out to {split.expert} groups; every rank sees all tokens, computes the choices that "
            "fall on its own experts, and the ranks' outputs are summed"
        )
    yield (
        "collectives in the type of the activations; sent bytes are those of rings over all ranks, without reduction "
        "in the switches, which can halve them"
    )
    yield "communication bounds leave latency aside, which decides at small batches"


def _of_images(model_config: Mapping[str, Any], whole: DescribedModel, layout: LayoutName) -> Iterator[str]:
    if not whole.encoders:
        return
    cut = image_type_with_plan(model_config) if layout == "plan" else None
    also = "" if cut is None else f": that transformers' plan shards it too ({cut}) is not covered"
    yield f"the image path is counted whole on every rank{also}"
