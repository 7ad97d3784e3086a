"""A static analysis for people."""

from __future__ import annotations

from collections.abc import Iterator

from llm_perf_opt.records.static import Bound, GpuFigures, GpuPhases, MeasuredFigures, Phase, StaticRecord
from llm_perf_opt.reports.document import Block, Document, Items, Section, Table
from llm_perf_opt.reports.static_sharding import sharding_sections
from llm_perf_opt.reports.units import percent, scaled, significant

_FIT = {True: "fits", False: "does not fit"}


def static_document(record: StaticRecord) -> Document:
    """The whole record: the model, phases, bounds, operators, modules, assumptions."""
    phases = dict(_phases(record))
    sections = [Section("Model and sizes", (Items(_facts(record)),)), _phase_section(record)]
    if record.sharding is not None:
        sections += sharding_sections(record.sharding)
    else:
        sections += [_gpu_section(gpu) for gpu in record.gpus]
        sections += [_measured_section(found) for found in record.measured]
        if phases:
            sections.append(Section("By operator", (_operators(record),)))
        sections += [
            Section(f"Modules: {name}", (_modules(phase),)) for name, phase in phases.items() if name != "generation"
        ]
    return Document("Static analysis", (*sections, Section(f"Method: {record.method}", (Items(record.assumptions),))))


def _phases(record: StaticRecord) -> Iterator[tuple[str, Phase]]:
    """Those that are covered, by what people call them."""
    phases = record.phases
    named = {
        "vision (in prefill)": phases.vision,
        "prefill": phases.prefill,
        "decode step": phases.decode,
        "generation": phases.generation,
    }
    return ((name, phase) for name, phase in named.items() if phase is not None)


def _facts(record: StaticRecord) -> tuple[str, ...]:
    model, request = record.model, record.request
    facts = [
        *(record.assumptions[:1] if record.method == "estimated" else ()),
        f"model type: {model.model_type}",
        f"parameters: {_amount(model.parameters, '')}; active per token: {_amount(model.active_parameters, '')}",
        f"weights: {_amount(model.weight_bytes, ' bytes')} ({model.quantization or model.dtype})",
        f"KV cache: {_amount(model.kv_bytes_per_token, ' bytes')} per token and sequence",
        *_state(record),
        f"asked: {_prompt(record)}, {_steps(record)}batch {request.batch}",
    ]
    if request.views:
        facts.append("views: " + ", ".join(f"{width}x{height}" for width, height in request.views))
    if request.images:
        facts.append("images: " + ", ".join(f"{width}x{height}" for width, height in request.images))
    return tuple(facts)


def _prompt(record: StaticRecord) -> str:
    """The tokens of one prompt."""
    request, vision = record.request, record.phases.vision
    text = f"{request.prompt_tokens:,} prompt tokens"
    return text if vision is None else f"{text} beside {vision.tokens // request.batch:,} of images"


def _steps(record: StaticRecord) -> str:
    """What was asked of decoding; nothing of a model that does not."""
    request = record.request
    return "" if request.context is None else f"{request.context} cached at the decode step, {request.new_tokens} new, "


def _state(record: StaticRecord) -> Iterator[str]:
    state = record.model.state
    named = {"recurrent": state.recurrent, "convolution": state.convolution} if state is not None else {}
    for name, kept in named.items():
        if kept is not None:
            yield (
                f"{name} state: {kept.resident_bytes:,} bytes per sequence ({kept.dtype}), {kept.moved_bytes:,} moved "
                f"and {kept.flops:,} FLOPs a step"
            )


def _amount(value: int | None, unit: str) -> str:
    return "not covered" if value is None else f"{value:,}{unit}"


def _phase_section(record: StaticRecord) -> Section:
    state = any(phase.state_bytes for _, phase in _phases(record))
    kept = ("KV cache", "state") if state else ("KV cache",)
    columns = ("phase", "tokens", "FLOPs", "bytes", "weights", *kept, "activations", "FLOP/B")
    rows = tuple(
        (
            name,
            f"{phase.tokens:,}",
            f"{phase.flops:,}",
            *(scaled(amount, "B") for amount in (phase.bytes, phase.weight_bytes, phase.kv_bytes)),
            *((scaled(phase.state_bytes, "B"),) if state else ()),
            scaled(phase.activation_bytes, "B"),
            significant(phase.arithmetic_intensity),
        )
        for name, phase in _phases(record)
    )
    blocks: list[Block] = (
        [Table(columns, rows, numeric=frozenset(range(1, len(columns))), important=(0, 2, 1, 3, len(columns) - 1))]
        if rows
        else []
    )
    remarks = [*_routing(record), *(f"{path}: {reason}" for path, reason in sorted(record.reasons.items()))]
    return Section("Phases", (*blocks, *([Items(tuple(remarks))] if remarks else [])))


def _routing(record: StaticRecord) -> Iterator[str]:
    for name, phase in _phases(record):
        routing = phase.weight_bytes_routing
        if routing.most != routing.least and phase is not record.phases.vision:
            amounts = " / ".join(scaled(value, "B") for value in (routing.least, routing.expected, routing.most))
            yield f"{name}: weights read depend on expert routing — least / expected (uniform) / most: {amounts}"


def _bounds(phases: GpuPhases) -> Table:
    """The least time of each phase."""
    named = {
        "vision (in prefill)": phases.vision,
        "prefill": phases.prefill,
        "decode step": phases.decode,
        "generation": phases.generation,
    }
    columns = ("phase", "compute ms", "memory ms", "bound ms", "limited by", "unfused ms", "tokens/s at most")
    rows = tuple(_bound_row(name, bound) for name, bound in named.items() if bound is not None)
    return Table(columns, rows, numeric=frozenset({1, 2, 3, 5, 6}), important=(0, 3, 4, 6))


def _invalid(phases: GpuPhases) -> bool:
    """Whether a memory bound does not hold."""
    bounds = (phases.vision, phases.prefill, phases.decode, phases.generation)
    return any(bound is not None and bound.memory_bound_valid is False for bound in bounds)


def _measured_section(found: MeasuredFigures) -> Section:
    """Bounds by measured peaks, which are no data sheet's."""
    return Section(f"Measured peak: {found.device}", tuple(measured_blocks(found)))


def measured_blocks(found: MeasuredFigures) -> list[Block]:
    """Bounds by measured peaks, and what they are."""
    rates = ", ".join(f"{dtype} {scaled(rate, 'FLOP/s')}" for dtype, rate in found.peak_flops.items())
    remarks = [f"Bounds by {found.label}: {rates}, reading memory {scaled(found.read_bytes_per_s, 'B/s')}."]
    if _invalid(found.phases):
        remarks.append(
            "Memory bounds marked invalid: these weights fit in the last-level cache and need not come from memory."
        )
    return [_bounds(found.phases), Items(tuple(remarks))]


def _gpu_section(gpu: GpuFigures) -> Section:
    table = _bounds(gpu.phases)
    remarks = [_peaks(gpu)]
    if gpu.memory is not None:
        need = gpu.memory
        remarks.append(
            f"memory: needs {scaled(need.total_bytes, 'B')} of {scaled(need.memory_bytes, 'B')} "
            f"(weights {scaled(need.weight_bytes, 'B')}, cache {scaled(need.kv_bytes, 'B')}, "
            + (f"state {scaled(need.state_bytes, 'B')}, " if need.state_bytes else "")
            + f"working set {scaled(need.activation_bytes, 'B')}): {_FIT[need.fits]}; "
            f"largest batch at these lengths: {need.largest_batch}"
        )
    if _invalid(gpu.phases):
        remarks.append("memory bounds marked invalid: these weights fit in L2 and need not come from memory")
    remarks += [f"{path}: {reason}" for path, reason in sorted(gpu.reasons.items())]
    remarks += [f"source: {source}" for source in gpu.sources]
    return Section(f"{gpu.title} ({gpu.name})", (table, Items(tuple(remarks))))


def _bound_row(name: str, bound: Bound) -> tuple[str, ...]:
    memory = significant(bound.memory_ms) + ("" if bound.memory_bound_valid is not False else " (invalid)")
    times = (significant(bound.compute_ms), memory, significant(bound.bound_ms))
    return (name, *times, bound.limited_by or "—", significant(bound.unfused_ms), significant(bound.tokens_per_s))


def _peaks(gpu: GpuFigures) -> str:
    peaks = ", ".join(
        f"{dtype} {'unknown' if peak is None else scaled(peak, 'FLOP/s')}" for dtype, peak in gpu.peak_flops.items()
    )
    ridge = "unknown" if gpu.ridge is None else f"{significant(gpu.ridge)} FLOP/B"
    return f"dense peak: {peaks}; bandwidth {scaled(gpu.memory_bandwidth_bytes_per_s, 'B/s')}; ridge {ridge}"


def _operators(record: StaticRecord) -> Table:
    phases = {name: phase for name, phase in _phases(record) if name != "generation"}
    kinds = dict.fromkeys(kind for phase in phases.values() for kind in phase.by_operator)
    rows = []
    for kind in kinds:
        row = [kind]
        for phase in phases.values():
            figures = phase.by_operator.get(kind)
            row.append(f"{figures.flops:,}" if figures else "—")
            row.append(scaled(figures.weight_bytes + figures.kv_bytes + figures.state_bytes, "B") if figures else "—")
        rows.append(tuple(row))
    columns = ("operator", *(f"{name} {what}" for name in phases for what in ("FLOPs", "bytes")))
    flops_first = (*range(1, len(columns), 2), *range(2, len(columns), 2))
    return Table(columns, tuple(rows), numeric=frozenset(range(1, len(columns))), important=(0, *flops_first))


def _modules(phase: Phase) -> Table:
    columns = ("module", "operator", "layers", "FLOPs", "share", "parameters", "bytes")
    rows = tuple(
        (
            name,
            figures.operator,
            str(figures.repeat),
            f"{figures.flops:,}",
            percent(figures.flops / phase.flops) if phase.flops else "—",
            f"{figures.parameters:,}",
            scaled(figures.weight_bytes + figures.kv_bytes + figures.state_bytes, "B"),
        )
        for name, figures in phase.by_module.items()
        if figures.flops or figures.parameters
    )
    return Table(columns, rows, numeric=frozenset(range(2, 7)), names=frozenset({0}), important=(0, 4, 3, 6))
