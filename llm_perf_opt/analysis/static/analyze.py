"""Closed-form analysis: a model's config and a request in, a record out. No torch, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from llm_perf_opt.analysis.static import per_layer, walk
from llm_perf_opt.analysis.static.bounds import Footprint, PhaseRows, footprint, on_gpu
from llm_perf_opt.analysis.static.contradictions import check_stored
from llm_perf_opt.analysis.static.description import Block, Description, Options, Vision
from llm_perf_opt.analysis.static.families import every_family, find_family
from llm_perf_opt.analysis.static.heads import check_decoder
from llm_perf_opt.analysis.static.passes import Pass, decode_run, decode_step, prefill, prefill_chunks
from llm_perf_opt.analysis.static.precision import Precision, resolve
from llm_perf_opt.analysis.static.reader import NotCovered, Reader
from llm_perf_opt.analysis.static.state import CausalConvolution, Recurrence
from llm_perf_opt.analysis.static.stored import StoredWeights
from llm_perf_opt.errors import ConfigError
from llm_perf_opt.hardware.gpu import Gpu
from llm_perf_opt.records.static import (
    GpuFigures,
    ModelFacts,
    ModuleFigures,
    OperatorFigures,
    Phase,
    Phases,
    Routing,
    State,
    StateFigures,
    StaticRecord,
    StaticRequest,
)

_DEFINITIONS = (
    "a matrix product m x k by k x n is 2·m·n·k FLOPs; element-wise work, norms, softmax and rotary positions count 0",
    "bytes are the least a phase moves: each weight, cached key and value once; activations stay on chip",
    "weight_bytes of a mixture of experts assume the routing that touches the fewest experts; see weight_bytes_routing",
)


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
    check_decoder(config, where)
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
        if not {"text_config", "language_config"} & set(described.defaults):
            # Composite files repeat keys of their text part at the top.
            reader.check_experts()
        return described.describe(reader, chosen)

    if config.get(per_layer.KEY) is None or per_layer.KEY in described.defaults:
        return read(config)
    blocks = per_layer.apply(config, where, lambda values: read(values).blocks)
    return replace(read({**config, per_layer.KEY: None}), blocks=blocks)


def _phase(rows: Sequence[walk.Row], tokens: int) -> Phase:
    by_operator: dict[str, list[float]] = {}
    for row in rows:
        sums = by_operator.setdefault(row.kind, [0, 0.0, 0.0, 0.0, 0.0])
        for position, value in enumerate((row.flops, row.weight_least, row.kv, row.activation, row.state)):
            sums[position] += value
    weights, kv = round(sum(r.weight_least for r in rows)), round(sum(r.kv for r in rows))
    state = round(sum(r.state for r in rows))
    flops, implemented = sum(r.flops for r in rows), sum(r.implemented for r in rows)
    moved = weights + kv + state
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
        state_bytes=state,
        implemented_flops=None if implemented == flops else implemented,
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
                state_bytes=round(r.state),
            )
            for r in rows
        },
        by_operator={
            kind: OperatorFigures(
                flops=int(sums[0]),
                weight_bytes=round(sums[1]),
                kv_bytes=round(sums[2]),
                activation_bytes=round(sums[3]),
                state_bytes=round(sums[4]),
            )
            for kind, sums in by_operator.items()
        },
    )


def prefill_passes(request: StaticRequest, tokens: int, source: int = 0) -> tuple[Pass, ...]:
    """The passes over a prompt of `tokens` tokens: one, or one for each piece of it."""
    every, full = request.logits == "all", request.attention_flops == "full"
    if request.prefill_chunk is None:
        return (prefill(request.batch, tokens, all_logits=every, full=full, source=source),)
    return prefill_chunks(request.batch, tokens, request.prefill_chunk, all_logits=every, full=full, source=source)


def _state_of(prepared: DescribedModel, kind: type[Recurrence | CausalConvolution]) -> StateFigures | None:
    held = [(op, block.repeat) for block in prepared.decoder for op in block.operators if isinstance(op, kind)]
    if not held:
        return None
    first, step = held[0][0], decode_step(1, 1)
    resident = walk.state_bytes(prepared.decoder, prepared.precision, kind)
    return StateFigures(
        dtype=prepared.precision.state_dtype(first.state_type),
        resident_bytes=resident,
        moved_bytes=2 * resident,
        flops=sum(operator.flops(step) * repeat for operator, repeat in held),
        context_tokens=first.kernel if isinstance(first, CausalConvolution) else None,
    )


def _state(prepared: DescribedModel) -> State | None:
    recurrent, convolution = _state_of(prepared, Recurrence), _state_of(prepared, CausalConvolution)
    return State(recurrent=recurrent, convolution=convolution) if recurrent or convolution else None


_BOUNDS = (
    "a bound is the larger of all FLOPs over dense peaks and all least bytes over peak bandwidth: no GPU is faster, "
    "none reaches it",
    "peaks are those of the operators' types accumulating in float32 (integers in int32), at the published clock",
    "memory fit counts weights, cache and one working set against the memory as sold; "
    "the CUDA context, the allocator's slack and a runtime's buffers are not counted",
)


def _assumptions(request: StaticRequest, prepared: DescribedModel, *, bounds: bool) -> list[str]:
    lines = [*_DEFINITIONS, *prepared.precision.notes, *prepared.description.notes]
    encoder = bool(prepared.description.no_decoding)
    pairs = "the pairs its masks allow, both ways" if encoder else "the pairs a causal kernel computes"
    square = "the whole query x key square" if request.attention_flops == "full" else pairs
    lines.append(f"attention of prefill counts {square} (attention_flops = {request.attention_flops})")
    positions = "every position" if request.logits == "all" else "the last position"
    if not encoder:
        lines.append(f"the output head of prefill runs for {positions} (logits = {request.logits})")
    lines.append("active_parameters leave out the experts a token is not routed to; embeddings are counted whole")
    if prepared.stored is not None:
        lines.append(f"weights held are those of {prepared.stored.source}: {prepared.stored.bytes:,} bytes")
    if prepared.vision is not None:
        lines.extend(prepared.vision.notes)
        lines.append("vision is nested in prefill: its figures are part of prefill's")
    if bounds:
        lines.extend(_BOUNDS)
    return lines


@dataclass(frozen=True, slots=True)
class DescribedModel:
    """A model described once, for any number of requests that differ in tokens and batch."""

    model_type: str
    description: Description
    precision: Precision
    vision: Vision | None
    encoders: tuple[Block, ...]
    """Blocks of the vision path, with the images of the request or with none."""
    parameters: tuple[int, int]
    reasons: dict[str, str]
    stored: StoredWeights | None = None
    """The weights as files hold them, where there are files."""

    @property
    def decoder(self) -> tuple[Block, ...]:
        """Blocks from embedding to output head."""
        return self.description.blocks

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All blocks whose weights are part of the model."""
        return (*self.encoders, *self.description.blocks)

    @property
    def weight_bytes(self) -> int:
        """All weights as stored: by the files where there are some, else by types and quantization."""
        return self.stored.bytes if self.stored else walk.stored_bytes(self.blocks, self.precision)

    def prompt(self, request: StaticRequest) -> int:
        """Tokens of a prompt, those of its images included; of a decoder whose encoder reads the prompt, its first."""
        if self.description.prompt_is_source:
            return 1
        return request.prompt_tokens + (self.vision.tokens if self.vision else 0)

    def source(self, request: StaticRequest) -> int:
        """Positions that an encoder reads before the decoder begins.

        Raises:
            ConfigError: more than it has.
        """
        described, limit = self.description, self.description.source_limit
        if limit is not None and request.prompt_tokens > limit:
            raise ConfigError(
                f"{'this' if described.no_decoding else 'the encoder of this'} {self.model_type} has {limit:,} "
                f"positions, and the prompt {request.prompt_tokens:,} tokens",
                f"give --prompt-tokens {limit} or fewer",
            )
        return request.prompt_tokens if described.prompt_is_source else described.source

    def read(self, request: StaticRequest) -> int:
        """Tokens and positions that are read before the first new token."""
        return self.prompt(request) + self.source(request)

    def fitted(self, request: StaticRequest) -> StaticRequest:
        """The request; where it names no length of the prompt, with one that the model has positions for.

        Raises:
            ConfigError: it asks for more positions than the model has.
        """
        described = self.description
        limit = described.source_limit
        if described.positions is not None and not described.prompt_is_source:
            seen = self.vision.tokens if self.vision else 0
            room = max(described.positions - seen - request.new_tokens + 1, 1)
            limit = room if limit is None else min(limit, room)
        if limit is not None and limit < request.prompt_tokens and "prompt_tokens" not in request.model_fields_set:
            request = request.model_copy(update={"prompt_tokens": limit})
        self.check_positions(request)
        return request

    def check_positions(self, request: StaticRequest) -> None:
        """Refuse what the table of the decoder's positions has no rows for.

        Raises:
            ConfigError: there is something.
        """
        limit, prompt = self.description.positions, self.prompt(request)
        asked = {"the prompt": prompt, "the prompt with its new tokens": prompt + request.new_tokens - 1}
        if request.context is not None:
            asked["the context with the token of a step"] = request.context + 1
        for what, count in asked.items():
            if limit is not None and count > limit:
                raise ConfigError(
                    f"this {self.model_type} has a table of {limit:,} positions, and {what} would take {count:,}",
                    "ask for fewer: --prompt-tokens, --new-tokens, --context",
                )

    def check_decodes(self, option: str) -> None:
        """Refuse what asks for a decode step of a model that has none.

        Raises:
            ConfigError: it has none.
        """
        if self.description.no_decoding:
            raise ConfigError(
                f"{option} is about decoding, and this model is {self.description.no_decoding}", f"leave out {option}"
            )


def describe_model(
    model_config: Mapping[str, Any],
    request: StaticRequest,
    *,
    where: str = "config.json",
    description: Description | None = None,
    stored: StoredWeights | None = None,
) -> DescribedModel:
    """Read a config and describe its model for the images and types of a request.

    Args:
        description: the model, where it is known from somewhere else than its closed form.
        stored: the weights as files hold them.

    Raises:
        ConfigError: the config is malformed, or (`NotCovered`) its model type has no closed form.
    """
    description = description or describe(
        model_config, Options(request.mla_form, request.views, request.images, request.pixel_limits), where=where
    )
    precision = resolve(model_config, request.dtype, request.kv_dtype, stored.dtype if stored else None)
    vision: Vision | None = None
    encoders: tuple[Block, ...] = ()
    reasons: dict[str, str] = {}
    seen = bool(request.images or request.views)
    if description.vision is None:
        reasons["phases.vision"] = description.vision_reason
        if seen:
            raise ConfigError(f"{where}: images were asked for, but {description.vision_reason}", "leave out --image")
    elif seen:
        vision = description.vision(request.images)
        if request.image_tokens is not None:
            vision = replace(vision, tokens=request.image_tokens)
        encoders = vision.blocks
    else:
        encoders = description.vision(()).blocks
        reasons["phases.vision"] = "no images were asked for"
    if description.no_decoding:
        reasons |= dict.fromkeys(("phases.decode", "phases.generation"), description.no_decoding)
    parameters = walk.parameters((*encoders, *description.blocks))
    if stored is not None and not description.uncounted:
        check_stored(description.blocks, parameters[0], stored, where, may_lack=bool(description.no_decoding))
    prepared = DescribedModel(
        model_type=model_type_of(model_config, where),
        description=description,
        precision=precision,
        vision=vision,
        encoders=encoders,
        parameters=parameters,
        stored=stored if request.dtype is None else None,
        reasons=reasons | ({"model.parameters": description.uncounted} if description.uncounted else {}),
    )
    for option, asked in (("--context", request.context), ("--prefill-chunk", request.prefill_chunk)):
        if asked is not None:
            prepared.check_decodes(option)
    return prepared


def context_of(prepared: DescribedModel, request: StaticRequest) -> int:
    """Cached tokens before the decode step: as asked, else the whole prompt."""
    return prepared.prompt(request) if request.context is None else request.context


def vision_rows(prepared: DescribedModel, request: StaticRequest) -> list[walk.Row]:
    """Figures of every operator of the image path; none without images."""
    if prepared.vision is None:
        return []
    once = (Pass(request.batch, 0, 0, 0, full=request.attention_flops == "full"),)
    return walk.rows(prepared.encoders, once, prepared.precision)


def prefill_rows(prepared: DescribedModel, request: StaticRequest) -> list[walk.Row]:
    """Figures of every operator of prefill, the image path included."""
    passes = prefill_passes(request, prepared.prompt(request), prepared.source(request))
    return vision_rows(prepared, request) + walk.rows(prepared.decoder, passes, prepared.precision)


def decode_rows(prepared: DescribedModel, request: StaticRequest) -> list[walk.Row]:
    """Figures of every operator of one decode step."""
    step = decode_step(request.batch, context_of(prepared, request), prepared.source(request))
    return walk.rows(prepared.decoder, (step,), prepared.precision)


def phase_rows(prepared: DescribedModel, request: StaticRequest) -> PhaseRows:
    """Figures of every operator in every phase."""
    batch, prompt, steps = request.batch, prepared.prompt(request), request.new_tokens - 1
    run = (decode_run(batch, prompt, steps, prepared.source(request)),) if steps else ()
    seen, decodes = vision_rows(prepared, request), not prepared.description.no_decoding
    return PhaseRows(
        vision=(seen, batch * prepared.vision.tokens) if prepared.vision else None,
        prefill=(prefill_rows(prepared, request), batch * prepared.read(request)),
        decode=(decode_rows(prepared, request), batch) if decodes else None,
        later=(walk.rows(prepared.decoder, run, prepared.precision), batch * steps) if decodes else None,
        new_tokens=batch * request.new_tokens,
    )


def need_of(prepared: DescribedModel, request: StaticRequest) -> Footprint:
    """What the whole generation keeps in memory."""
    prompt = prepared.prompt(request)
    step = min(prompt, request.prefill_chunk or prompt)
    return footprint(
        prepared.decoder,
        prepared.precision,
        weights=prepared.weight_bytes,
        end=max(prompt + request.new_tokens, (request.context or 0) + 1),
        step=step,
        logits=step if request.logits == "all" or prepared.description.no_decoding else 1,
        source=prepared.source(request),
    )


def analyze(
    model_config: Mapping[str, Any],
    request: StaticRequest | None = None,
    gpus: Sequence[Gpu] = (),
    *,
    where: str = "config.json",
    description: Description | None = None,
    stored: StoredWeights | None = None,
) -> StaticRecord:
    """FLOPs, parameters and bytes of a model, from its closed form or from a traced description.

    Args:
        model_config: a `config.json` as a mapping.
        request: sizes and conventions; the defaults of `StaticRequest` where left out.
        gpus: GPUs to give bounds and memory fit for.
        where: what to call the config in errors.
        description: the model as traced; None reads its closed form.
        stored: the weights as files hold them, where there are files.

    Raises:
        ConfigError: the config is malformed, or (`NotCovered`) its model type has no closed form.
    """
    request = request or StaticRequest()
    prepared = describe_model(model_config, request, where=where, description=description, stored=stored)
    request = prepared.fitted(request)
    phases, precision = phase_rows(prepared, request), prepared.precision
    whole = not prepared.description.uncounted
    return StaticRecord(
        method="analytic" if description is None else "traced",
        assumptions=tuple(_assumptions(request, prepared, bounds=bool(gpus))),
        request=request.model_copy(update={"context": context_of(prepared, request) if phases.decode else None}),
        model=ModelFacts(
            model_type=prepared.model_type,
            parameters=prepared.parameters[0] if whole else None,
            active_parameters=prepared.parameters[1] if whole else None,
            weight_bytes=prepared.weight_bytes if whole or prepared.stored else None,
            dtype=precision.dtype,
            quantization=precision.scheme.label if precision.scheme else None,
            kv_bytes_per_token=walk.bytes_per_token(prepared.decoder, precision),
            state=_state(prepared),
        ),
        phases=Phases(
            vision=_phase(*phases.vision) if phases.vision else None,
            prefill=_phase(*phases.prefill),
            decode=_phase(*phases.decode) if phases.decode else None,
            generation=_generation(phases),
        ),
        gpus=_on_gpus(gpus, prepared, request, phases),
        reasons=prepared.reasons,
    )


def _generation(phases: PhaseRows) -> Phase | None:
    if phases.later is None:
        return None
    return _phase(_merged(phases.prefill[0], phases.later[0]), phases.prefill[1] + phases.later[1])


def _on_gpus(
    gpus: Sequence[Gpu], prepared: DescribedModel, request: StaticRequest, phases: PhaseRows
) -> tuple[GpuFigures, ...]:
    if not gpus:
        return ()
    need = need_of(prepared, request)
    found = [on_gpu(gpu, phases, prepared.precision, need, request.batch) for gpu in gpus]
    unknown = prepared.description.uncounted
    if unknown:
        found = [f.model_copy(update={"memory": None, "reasons": {**f.reasons, "memory": unknown}}) for f in found]
    return tuple(found)


def _merged(first: Sequence[walk.Row], second: Sequence[walk.Row]) -> list[walk.Row]:
    """Rows of two phases, those of the same operator added."""
    merged = {row.name: row for row in first}
    for row in second:
        other = merged.get(row.name)
        merged[row.name] = row if other is None else walk.add(other, row)
    return list(merged.values())
