"""Closed-form analysis: a model's config and a request in, a record out. No torch, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from llm_perf_opt.analysis.static import per_layer, walk
from llm_perf_opt.analysis.static.description import Block, Description, Options, Vision
from llm_perf_opt.analysis.static.families import every_family, find_family
from llm_perf_opt.analysis.static.passes import Pass, decode_run, decode_step, prefill, prefill_chunks
from llm_perf_opt.analysis.static.precision import Precision, resolve
from llm_perf_opt.analysis.static.reader import Reader
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.records.static import (
    ModelFacts,
    ModuleFigures,
    OperatorFigures,
    Phase,
    Phases,
    Routing,
    StaticRecord,
    StaticRequest,
)

_DEFINITIONS = (
    "a matrix product m x k by k x n is 2·m·n·k FLOPs; element-wise work, norms, softmax and rotary positions count 0",
    "bytes are the least a phase moves: each weight, cached key and value once; activations stay on chip",
    "weight_bytes of a mixture of experts assume the routing that touches the fewest experts; see weight_bytes_routing",
)


class NotCovered(ConfigError):
    """No closed form for this model type; tracing may cover it."""


def model_type_of(config: Mapping[str, Any], where: str) -> str:
    """The `model_type` of a config.

    Raises:
        ConfigError: it has none.
    """
    named = config.get("model_type")
    if not isinstance(named, str) or not named:
        raise ConfigError(f"{where}: model_type is {named!r}", "give the model_type that transformers registers")
    return named


def describe(config: Mapping[str, Any], options: Options | None = None, *, where: str = "config.json") -> Description:
    """The operators of the model that a config describes.

    Raises:
        NotCovered: its model type has no closed form.
        ConfigError: sizes that are missing, wrong or contradictory.
    """
    model_type = model_type_of(config, where)
    family = find_family(model_type)
    if family is None:
        raise NotCovered(
            f"{where}: no closed form for model_type {model_type!r}",
            "use --method traced, which covers what transformers can build; closed forms: "
            + ", ".join(sorted(known.model_type for known in every_family())),
        )
    described, chosen = family, options or Options()

    def read(values: Mapping[str, Any]) -> Description:
        reader = Reader(values, described.defaults, where=where, aliases=described.aliases)
        reader.check_spelling()
        reader.check_experts()
        return described.describe(reader, chosen)

    if config.get(per_layer.KEY) is None:
        return read(config)
    blocks = per_layer.apply(config, where, lambda values: read(values).blocks)
    return replace(read({**config, per_layer.KEY: None}), blocks=blocks)


def _phase(rows: Sequence[walk.Row], tokens: int) -> Phase:
    by_operator: dict[str, list[float]] = {}
    for row in rows:
        sums = by_operator.setdefault(row.kind, [0, 0.0, 0.0, 0.0])
        for position, value in enumerate((row.flops, row.weight_least, row.kv, row.activation)):
            sums[position] += value
    weights, kv = round(sum(r.weight_least for r in rows)), round(sum(r.kv for r in rows))
    flops = sum(r.flops for r in rows)
    moved = weights + kv
    return Phase(
        tokens=tokens,
        flops=flops,
        bytes=moved,
        weight_bytes=weights,
        weight_bytes_routing=Routing(
            least=weights,
            expected=round(sum(r.weight_expected for r in rows)),
            most=round(sum(r.weight_most for r in rows)),
        ),
        kv_bytes=kv,
        activation_bytes=round(sum(r.activation for r in rows)),
        arithmetic_intensity=flops / moved if moved else None,
        by_module={
            r.name: ModuleFigures(
                operator=r.kind,
                repeat=r.repeat,
                flops=r.flops,
                parameters=r.parameters,
                weight_bytes=round(r.weight_least),
                kv_bytes=round(r.kv),
                activation_bytes=round(r.activation),
            )
            for r in rows
        },
        by_operator={
            kind: OperatorFigures(
                flops=int(sums[0]),
                weight_bytes=round(sums[1]),
                kv_bytes=round(sums[2]),
                activation_bytes=round(sums[3]),
            )
            for kind, sums in by_operator.items()
        },
    )


def _prefill_passes(request: StaticRequest, tokens: int) -> tuple[Pass, ...]:
    every, full = request.logits == "all", request.attention_flops == "full"
    if request.prefill_chunk is None:
        return (prefill(request.batch, tokens, all_logits=every, full=full),)
    return prefill_chunks(request.batch, tokens, request.prefill_chunk, all_logits=every, full=full)


def _assumptions(
    request: StaticRequest, description: Description, vision: Vision | None, precision: Precision
) -> list[str]:
    lines = [*_DEFINITIONS, *precision.notes, *description.notes]
    square = (
        "the whole query x key square" if request.attention_flops == "full" else "the pairs a causal kernel computes"
    )
    lines.append(f"attention of prefill counts {square} (attention_flops = {request.attention_flops})")
    positions = "every position" if request.logits == "all" else "the last position"
    lines.append(f"the output head of prefill runs for {positions} (logits = {request.logits})")
    lines.append("active_parameters leave out the experts a token is not routed to; embeddings are counted whole")
    if vision is not None:
        lines.extend(vision.notes)
        lines.append("vision is nested in prefill: its figures are part of prefill's")
    return lines


def analyze(
    model_config: Mapping[str, Any], request: StaticRequest | None = None, *, where: str = "config.json"
) -> StaticRecord:
    """FLOPs, parameters and bytes of a model in closed form.

    Args:
        model_config: a `config.json` as a mapping.
        request: sizes and conventions; the defaults of `StaticRequest` where left out.
        where: what to call the config in errors.

    Raises:
        ConfigError: the config is malformed, or (`NotCovered`) its model type has no closed form.
    """
    request = request or StaticRequest()
    description = describe(model_config, Options(mla_form=request.mla_form, views=request.views), where=where)
    precision = resolve(model_config, request.dtype, request.kv_dtype)
    reasons: dict[str, str] = {}

    vision: Vision | None = None
    vision_blocks: tuple[Block, ...] = ()
    if description.vision is None:
        reasons["phases.vision"] = description.vision_reason
        if request.images or request.views:
            raise ConfigError(f"{where}: images were asked for, but {description.vision_reason}", "leave out --image")
    else:
        vision_blocks = description.vision(()).blocks
        if request.images or request.views:
            vision = description.vision(request.images)
            vision_blocks = vision.blocks
        else:
            reasons["phases.vision"] = "no images were asked for"

    prompt = request.prompt_tokens + (vision.tokens if vision else 0)
    context = prompt if request.context is None else request.context
    decoder = description.blocks
    once = (Pass(request.batch, 0, 0, 0, full=request.attention_flops == "full"),)
    seen = walk.rows(vision_blocks, once, precision) if vision else []
    read = seen + walk.rows(decoder, _prefill_passes(request, prompt), precision)
    steps = request.new_tokens - 1
    later = walk.rows(decoder, (decode_run(request.batch, prompt, steps),), precision) if steps else []
    total, active = walk.parameters((*vision_blocks, *decoder))
    return StaticRecord(
        method="analytic",
        assumptions=tuple(_assumptions(request, description, vision, precision)),
        request=request.model_copy(update={"context": context}),
        model=ModelFacts(
            model_type=model_type_of(model_config, where),
            parameters=total,
            active_parameters=active,
            weight_bytes=walk.stored_bytes((*vision_blocks, *decoder), precision),
            dtype=precision.dtype,
            quantization=precision.layout.label if precision.layout else None,
            kv_bytes_per_token=walk.cache_bytes(decoder, 1, precision),
        ),
        phases=Phases(
            vision=_phase(seen, request.batch * vision.tokens) if vision else None,
            prefill=_phase(read, request.batch * prompt),
            decode=_phase(walk.rows(decoder, (decode_step(request.batch, context),), precision), request.batch),
            generation=_phase(_merged(read, later), request.batch * (prompt + steps)),
        ),
        reasons=reasons,
    )


def _merged(first: Sequence[walk.Row], second: Sequence[walk.Row]) -> list[walk.Row]:
    """Rows of two phases, those of the same operator added."""
    merged = {row.name: row for row in first}
    for row in second:
        other = merged.get(row.name)
        merged[row.name] = row if other is None else walk.add(other, row)
    return list(merged.values())
