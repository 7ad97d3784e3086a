"""Tracing prefill, decode and vision of a built model, and turning what was counted into a record."""

from __future__ import annotations

import inspect
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from llm_perf_opt.analysis.static.operators import Experts
from llm_perf_opt.analysis.static.precision import BITS, Precision, resolve
from llm_perf_opt.analysis.traced.counter import Call, Counter, add_missing_formulas
from llm_perf_opt.analysis.traced.model import Built, Once, build
from llm_perf_opt.analysis.traced.vision import image_inputs, run_vision
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

_TRACE_ERRORS = (RuntimeError, TypeError, ValueError, KeyError, IndexError, AttributeError, NotImplementedError)


@dataclass(frozen=True, slots=True)
class Traced:
    """What one forward pass called, and the cache elements it read and wrote."""

    calls: Sequence[Call]
    entered: frozenset[str]
    cache_elements: int


def _held(layer: object) -> list[tuple[int, int]]:
    """(elements, positions) of the tensors one layer caches; a state without positions counts as one position."""
    found = []
    for value in vars(layer).values():
        if isinstance(value, torch.Tensor) and value.dim() > 2:
            found.append((value.numel(), value.shape[-2] if value.dim() == 4 else 1))
    return found


def _over_layers(per_layer: Sequence[int], once: Once | None) -> int:
    """Sum over layers; those that were not run count as their representative."""
    if once is None:
        return sum(per_layer)
    index = {path: int(path.rsplit(".", 1)[1]) for path in once.representatives}
    ran = {index[path]: index[first] for path, first in once.representatives.items()}
    return sum(per_layer[ran.get(position, position)] for position in range(len(per_layer)))


class SeveralRounds(Exception):
    """Layers and caches do not match one to one, so no layer can stand for another."""


class Tracer:
    """Forward passes of one model without its weights.

    Args:
        deduplicate: run equal layers once; False runs every layer (the full trace, for tests).
    """

    def __init__(self, built: Built, *, deduplicate: bool = True) -> None:
        add_missing_formulas()
        self.built = built
        names = {id(module): path for path, module in built.model.named_modules()}
        self.counter = Counter(names)
        self.once = Once(built, self.counter) if deduplicate else None
        self._cached_layers = 0
        if built.recorder is not None:
            built.recorder.counter = self.counter

    def _forward(self, tokens: int, cache: Any, *, batch: int, keep: int) -> Traced:
        model = self.built.model
        inputs = {"input_ids": torch.ones(batch, tokens, dtype=torch.long, device="meta")}
        named: dict[str, Any] = {"past_key_values": cache, "use_cache": True}
        accepted = inspect.signature(model.forward).parameters
        if "logits_to_keep" in accepted:
            named["logits_to_keep"] = keep
        self.counter.calls.clear()
        self.counter.entered.clear()
        if self.once is not None:
            self.once.forget()
        layers = list(getattr(cache, "layers", []))
        before = [sum(elements for elements, _ in _held(layer)) for layer in layers]
        with torch.no_grad(), self.counter.watching(), self.counter:
            model(**inputs, **named)
        # What was there is read; of the positions there now, as many as there are new tokens were written.
        after = [
            sum(elements // positions * min(tokens, positions) for elements, positions in _held(layer))
            for layer in getattr(cache, "layers", [])
        ]
        self._cached_layers = len(after)
        if not self.caches_of_their_own():
            raise SeveralRounds
        elements = _over_layers(before, self.once) + _over_layers(after, self.once)
        return Traced(tuple(self.counter.calls), frozenset(self.counter.entered), elements)

    def _cache(self) -> Any:
        from transformers import DynamicCache

        return DynamicCache(config=self.built.config)

    def caches_of_their_own(self) -> bool:
        """Whether each repeated layer has one cache: some models run the same layers in several rounds."""
        return self.once is None or self._cached_layers in (0, len(self.once.representatives))

    def prefill_and_decode(self, prompt: int, context: int, *, batch: int, every: bool) -> tuple[Traced, Traced]:
        """The pass over a prompt, and one step after `context` cached tokens."""
        cache = self._cache()
        read = self._forward(prompt, cache, batch=batch, keep=0 if every else 1)
        if context != prompt:
            cache = self._cache()
            if context:
                self._forward(context, cache, batch=batch, keep=1)
        return read, self._forward(1, cache, batch=batch, keep=1)

    def vision(self, images: Sequence[tuple[int, int]]) -> tuple[Traced, int]:
        """One pass of the image path, and the tokens it hands to the prompt."""
        inputs = image_inputs(self.built, images)
        self.counter.calls.clear()
        self.counter.entered.clear()
        if self.once is not None:
            self.once.forget()
        with torch.no_grad(), self.counter.watching(), self.counter:
            tokens = run_vision(self.built.model, inputs)
        return Traced(tuple(self.counter.calls), frozenset(self.counter.entered), 0), tokens


@dataclass(frozen=True, slots=True)
class _Weights:
    """Parameters of one module that are its own, by how a pass reads them."""

    dense: int
    table: tuple[int, int] | None
    """Rows and width of an embedding."""


def _weights_of(model: nn.Module) -> tuple[dict[str, _Weights], dict[str, int]]:
    """What each module holds itself, and the elements it reads although another holds them (tied heads)."""
    seen: set[int] = set()
    own: dict[str, _Weights] = {}
    shared: dict[str, int] = {}
    for path, module in model.named_modules():
        parameters = list(module.parameters(recurse=False))
        held = sum(p.numel() for p in parameters if id(p) not in seen)
        borrowed = sum(p.numel() for p in parameters if id(p) in seen)
        seen.update(id(p) for p in parameters)
        table = (module.num_embeddings, module.embedding_dim) if isinstance(module, nn.Embedding) else None
        if held:
            own[path] = _Weights(held, table)
        if borrowed:
            shared[path] = borrowed
    return own, shared


def _collapsed(path: str) -> str:
    return re.sub(r"\.\d+(?=\.|$)", ".*", path) or "model"


class Summary:
    """Turns traced passes into phases of a record."""

    def __init__(self, built: Built, precision: Precision, *, full: bool) -> None:
        self.own, self.shared = _weights_of(built.model)
        self.precision = precision
        self.full = full
        self.parameters = sum(weights.dense for weights in self.own.values())
        self.inactive = 0

    def _routed(self, calls: Sequence[Call], tokens: int) -> dict[str, Experts]:
        """Modules of routed experts, with how many there are and how many a token visits."""
        routed = {}
        for call in calls:
            if call.experts and call.path in self.own:
                count, rows = call.experts
                routed[call.path] = Experts(call.path, count, max(1, rows // tokens), ())
        return routed

    def note_active(self, traced: Traced, tokens: int) -> None:
        """Work out how many parameters a token does not go through."""
        for path, experts in self._routed(traced.calls, tokens).items():
            whole = self.own[path].dense
            self.inactive += whole - whole * experts.top_k // experts.count

    def _read(self, path: str, tokens: int, routed: Mapping[str, Experts]) -> tuple[float, float, float]:
        weights, shared = self.own.get(path), float(self.shared.get(path, 0))
        if weights is None:
            return shared, shared, shared
        if weights.table is not None:
            rows = float(min(weights.table[0], tokens) * weights.table[1])
            return rows, rows, rows
        experts = routed.get(path)
        if experts is None:
            return weights.dense + shared, weights.dense + shared, weights.dense + shared
        each = weights.dense / experts.count
        least, expected, most = experts.experts_read(tokens)
        return least * each, expected * each, most * each

    def phase(self, traced: Traced, tokens: int, kv_elements: int) -> Phase:
        """Figures of one pass."""
        routed = self._routed(traced.calls, tokens)
        element, plain = self.precision.kv_element_bytes(), BITS[self.precision.dtype] / 8
        flops: dict[str, int] = defaultdict(int)
        kinds: dict[str, str] = {}
        for call in traced.calls:
            name = f"{_collapsed(call.path)}" + (".attention" if call.kind == "attention" else "")
            flops[name] += call.flops if self.full else call.causal
            kinds.setdefault(name, call.kind)
        weights: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
        held: dict[str, int] = defaultdict(int)
        repeat: dict[str, int] = defaultdict(int)
        for path in sorted(traced.entered):
            name = _collapsed(path)
            read = self._read(path, tokens, routed)
            if any(read) or name in flops:
                repeat[name] += 1
            for position in range(3):
                weights[name][position] += read[position] * plain
        for path, own in self.own.items():
            if path in traced.entered:
                held[_collapsed(path)] += own.dense
        names = [name for name in {**weights, **flops} if flops.get(name) or weights[name][0] or held.get(name)]
        kv_bytes = round(kv_elements * element)
        modules = {
            name: ModuleFigures(
                operator=kinds.get(name, "elementwise"),
                repeat=max(1, repeat.get(name, repeat.get(name.removesuffix(".attention"), 1))),
                flops=flops.get(name, 0),
                parameters=held.get(name, 0),
                weight_bytes=round(weights[name][0]),
                kv_bytes=0,
                activation_bytes=None,
            )
            for name in names
        }
        total = sum(flops.values())
        sums = [round(sum(values[position] for values in weights.values())) for position in range(3)]
        by_operator: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for figures in modules.values():
            by_operator[figures.operator][0] += figures.flops
            by_operator[figures.operator][1] += figures.weight_bytes
        return Phase(
            tokens=tokens,
            flops=total,
            bytes=sums[0] + kv_bytes,
            weight_bytes=sums[0],
            weight_bytes_routing=Routing(least=sums[0], expected=sums[1], most=sums[2]),
            kv_bytes=kv_bytes,
            activation_bytes=None,
            arithmetic_intensity=total / (sums[0] + kv_bytes) if sums[0] + kv_bytes else None,
            by_module=modules,
            by_operator={
                kind: OperatorFigures(flops=values[0], weight_bytes=values[1], kv_bytes=0, activation_bytes=None)
                for kind, values in by_operator.items()
            },
        )


def _passes(
    config: Mapping[str, Any], request: StaticRequest, where: str, *, deduplicate: bool
) -> tuple[Tracer, Traced, Traced]:
    """Prefill and one decode step of a model, and the tracer that ran them."""
    prompt = request.prompt_tokens
    context = prompt if request.context is None else request.context
    for own_attention in (False, True):
        built = build(config, where, own_attention=own_attention)
        tracer = Tracer(built, deduplicate=deduplicate)
        try:
            every = request.logits == "all"
            return tracer, *tracer.prefill_and_decode(prompt, context, batch=request.batch, every=every)
        except SeveralRounds:
            return _passes(config, request, where, deduplicate=False)
        except _TRACE_ERRORS as error:
            # Without a recorder the model makes its masks, which some need outside their attention.
            if built.recorder is None:
                raise ConfigError(
                    f"{where}: cannot be traced without weights: {type(error).__name__}: {error}",
                    "its forward pass needs real values; no figure is given rather than a wrong one",
                ) from error
    raise AssertionError("the second round has no recorder")


def _assumptions(request: StaticRequest, tracer: Tracer, read: Traced, precision: Precision) -> list[str]:
    lines = [
        "traced on the meta device with transformers' own code; each distinct layer once, multiplied by its repeats",
        "a matrix product m x k by k x n is 2·m·n·k FLOPs; element-wise work counts 0",
        "bytes are weights and cache, each once; activation bytes are not traced",
    ]
    if precision.layout is None:
        lines.extend(precision.notes)
    else:
        lines.append(f"weights are counted in {precision.dtype}: tracing does not know quantized layouts")
    products = tracer.built.recorder is None or any(call.kind == "product" for call in read.calls)
    if request.attention_flops == "causal" and products:
        lines.append("products outside transformers' attention interface are counted whole, not causally")
    if read.cache_elements == 0:
        lines.append("the model left nothing in transformers' cache: a state of its own is not in kv_bytes")
    if request.views or request.images:
        lines.append("prefill is the text alone: give prompt_tokens with the image tokens, and add vision to it")
    return lines


def trace_record(
    config: Mapping[str, Any], request: StaticRequest, where: str, *, deduplicate: bool = True
) -> StaticRecord:
    """The record of a model by tracing.

    Raises:
        ConfigError: transformers cannot build the model, or its forward pass needs values that meta tensors
            do not have.
    """
    precision = resolve(config, request.dtype, request.kv_dtype)
    tracer, read, step = _passes(config, request, where, deduplicate=deduplicate)
    batch, prompt = request.batch, request.prompt_tokens
    summary = Summary(tracer.built, precision, full=request.attention_flops == "full")
    summary.note_active(step, batch)
    reasons = {
        "phases.vision": "no images were asked for",
        "phases.generation": "tracing covers one prefill and one decode step",
        "phases.*.activation_bytes": "not traced",
        "model.kv_bytes_per_token": "not traced",
    }
    seen: Phase | None = None
    images = request.views or request.images
    if images:
        try:
            passed, tokens = tracer.vision([*images] * batch)
            seen = summary.phase(passed, tokens, 0)
            del reasons["phases.vision"]
        except _TRACE_ERRORS as error:
            reasons["phases.vision"] = f"the image path cannot be traced: {type(error).__name__}: {error}"
    return StaticRecord(
        method="traced",
        assumptions=tuple(_assumptions(request, tracer, read, precision)),
        request=request.model_copy(update={"context": prompt if request.context is None else request.context}),
        model=ModelFacts(
            model_type=str(config["model_type"]),
            parameters=summary.parameters,
            active_parameters=summary.parameters - summary.inactive,
            weight_bytes=round(summary.parameters * BITS[precision.dtype] / 8),
            dtype=precision.dtype,
            quantization=None,
            kv_bytes_per_token=None,
        ),
        phases=Phases(
            vision=seen,
            prefill=summary.phase(read, prompt * batch, read.cache_elements),
            decode=summary.phase(step, batch, step.cache_elements),
            generation=None,
        ),
        reasons=reasons,
    )
