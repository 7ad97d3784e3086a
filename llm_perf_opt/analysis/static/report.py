"""A StaticRecord as Markdown: `static_compute.md`, and what `llmperf static` prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llm_perf_opt.records.static import GpuFigures, Phase, StaticRecord

_SCALES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def scaled(value: float, unit: str) -> str:
    """A number of four digits with a decimal prefix: `32.94 TFLOP`."""
    for factor, prefix in _SCALES:
        if abs(value) >= factor:
            return f"{value / factor:.4g} {prefix}{unit}"
    return f"{value:.4g} {unit}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, columns padded so that it reads well as plain text; all but the first right-aligned."""
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]

    def line(row: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = "| " + " | ".join("-" * w if i == 0 else "-" * (w - 1) + ":" for i, w in enumerate(widths)) + " |"
    return "\n".join([line(cells[0]), rule, *map(line, cells[1:])])


def _named(record: StaticRecord) -> list[tuple[str, Phase | None]]:
    phases = record.phases
    return [
        ("vision (in prefill)", phases.vision),
        ("prefill", phases.prefill),
        ("decode step", phases.decode),
        ("generation", phases.generation),
    ]


def _phases(record: StaticRecord) -> str:
    state = any(phase is not None and phase.state_bytes for _, phase in _named(record))
    header = ("phase", "FLOPs", "bytes", "weights", "KV cache", *(("state",) if state else ()), "activations", "FLOP/B")
    rows = []
    for name, phase in _named(record):
        if phase is None:
            continue
        intensity = "—" if phase.arithmetic_intensity is None else f"{phase.arithmetic_intensity:.4g}"
        kept = (phase.kv_bytes, phase.state_bytes) if state else (phase.kv_bytes,)
        amounts = [scaled(amount, "B") for amount in (phase.bytes, phase.weight_bytes, *kept)]
        amounts.append("—" if phase.activation_bytes is None else scaled(phase.activation_bytes, "B"))
        rows.append((name, f"{phase.flops:,}", *amounts, intensity))
    return table(header, rows)


def _modules(phase: Phase) -> str:
    rows = [
        (
            name,
            figures.operator,
            str(figures.repeat),
            f"{figures.flops:,}",
            f"{100 * figures.flops / phase.flops:.1f} %" if phase.flops else "—",
            f"{figures.parameters:,}",
            scaled(figures.weight_bytes + figures.kv_bytes + figures.state_bytes, "B"),
        )
        for name, figures in phase.by_module.items()
        if figures.flops or figures.parameters
    ]
    return table(("module", "operator", "layers", "FLOPs", "share", "parameters", "bytes"), rows)


def _operators(record: StaticRecord) -> str:
    kinds: list[str] = []
    for _, phase in _named(record)[:3]:
        kinds.extend(kind for kind in (phase.by_operator if phase else ()) if kind not in kinds)
    header = ["operator"]
    columns = [(name, phase) for name, phase in _named(record)[:3] if phase is not None]
    header.extend(f"{name} {what}" for name, _ in columns for what in ("FLOPs", "bytes"))
    rows = []
    for kind in kinds:
        row = [kind]
        for _, phase in columns:
            figures = phase.by_operator.get(kind)
            row.append(f"{figures.flops:,}" if figures else "—")
            row.append(scaled(figures.weight_bytes + figures.kv_bytes + figures.state_bytes, "B") if figures else "—")
        rows.append(row)
    return table(header, rows)


def _routing(record: StaticRecord) -> list[str]:
    lines = []
    for name, phase in _named(record)[1:]:
        routing = phase.weight_bytes_routing if phase else None
        if routing and routing.most != routing.least:
            amounts = " / ".join(scaled(v, "B") for v in (routing.least, routing.expected, routing.most))
            lines.append(
                f"- {name}: weights read depend on expert routing — least / expected (uniform) / most: {amounts}"
            )
    return lines


def _amount(value: int | None, unit: str) -> str:
    return "not covered" if value is None else f"{value:,}{unit}"


def _state(record: StaticRecord) -> list[str]:
    state = record.model.state
    named = [("recurrent", state.recurrent), ("convolution", state.convolution)] if state else []
    return [
        f"- {name} state: {kept.resident_bytes:,} bytes per sequence ({kept.dtype}), {kept.moved_bytes:,} moved and "
        f"{kept.flops:,} FLOPs a step"
        for name, kept in named
        if kept is not None
    ]


def _facts(record: StaticRecord) -> list[str]:
    model, request = record.model, record.request
    lines = [
        f"- model type: {model.model_type}",
        f"- parameters: {_amount(model.parameters, '')}; active per token: {_amount(model.active_parameters, '')}",
        f"- weights: {_amount(model.weight_bytes, ' bytes')} ({model.quantization or model.dtype})",
        f"- KV cache: {_amount(model.kv_bytes_per_token, ' bytes')} per token and sequence",
        *_state(record),
        f"- asked: {request.prompt_tokens} prompt tokens, {request.context} cached at the decode step, "
        f"{request.new_tokens} new, batch {request.batch}",
    ]
    if request.images:
        lines.append("- images: " + ", ".join(f"{width}x{height}" for width, height in request.images))
    return lines


_FIT = {True: "fits", False: "does not fit"}


def _milliseconds(value: float | None) -> str:
    return "—" if value is None else f"{value:.4g}"


def _gpu(gpu: GpuFigures) -> str:
    named = [("vision (in prefill)", gpu.phases.vision), ("prefill", gpu.phases.prefill)]
    named += [("decode step", gpu.phases.decode), ("generation", gpu.phases.generation)]
    rows = []
    for name, bound in named:
        if bound is None:
            continue
        memory = _milliseconds(bound.memory_ms) + ("" if bound.memory_bound_valid is not False else " (invalid)")
        rate = "—" if bound.tokens_per_s is None else f"{bound.tokens_per_s:,.4g}"
        times = (_milliseconds(bound.compute_ms), memory, _milliseconds(bound.bound_ms))
        rows.append((name, *times, bound.limited_by or "—", _milliseconds(bound.unfused_ms), rate))
    header = ("phase", "compute ms", "memory ms", "bound ms", "limited by", "unfused ms", "tokens/s at most")
    peaks = ", ".join(
        f"{dtype} {'unknown' if peak is None else scaled(peak, 'FLOP/s')}" for dtype, peak in gpu.peak_flops.items()
    )
    ridge = "unknown" if gpu.ridge is None else f"{gpu.ridge:.4g} FLOP/B"
    lines = [f"- dense peak: {peaks}; bandwidth {scaled(gpu.memory_bandwidth_bytes_per_s, 'B/s')}; ridge {ridge}"]
    if gpu.memory is not None:
        need = gpu.memory
        lines.append(
            f"- memory: needs {scaled(need.total_bytes, 'B')} of {scaled(need.memory_bytes, 'B')} "
            f"(weights {scaled(need.weight_bytes, 'B')}, cache {scaled(need.kv_bytes, 'B')}, "
            + (f"state {scaled(need.state_bytes, 'B')}, " if need.state_bytes else "")
            + f"working set {scaled(need.activation_bytes, 'B')}): {_FIT[need.fits]}; "
            f"largest batch at these lengths: {need.largest_batch}"
        )
    bounds = (gpu.phases.vision, gpu.phases.prefill, gpu.phases.decode, gpu.phases.generation)
    if any(bound is not None and bound.memory_bound_valid is False for bound in bounds):
        lines.append("- memory bounds marked invalid: these weights fit in L2 and need not come from memory")
    lines.extend(f"- {path}: {reason}" for path, reason in sorted(gpu.reasons.items()))
    lines.extend(f"- source: {source}" for source in gpu.sources)
    return f"## {gpu.title} ({gpu.name})\n\n" + table(header, rows) + "\n\n" + "\n".join(lines)


def markdown(record: StaticRecord) -> str:
    """The whole record for a reader: phases, operators, modules, assumptions."""
    parts = ["# Static analysis", "\n".join(_facts(record)), "## Phases", _phases(record)]
    routing = _routing(record)
    if routing:
        parts.append("\n".join(routing))
    if record.reasons:
        parts.append("\n".join(f"- {path}: {reason}" for path, reason in sorted(record.reasons.items())))
    parts.extend(map(_gpu, record.gpus))
    if any(phase for _, phase in _named(record)):
        parts.extend(("## By operator", _operators(record)))
    for title, phase in _named(record)[:3]:
        if phase is not None:
            parts.extend((f"## Modules: {title}", _modules(phase)))
    parts.extend((f"## Method: {record.method}", "\n".join(f"- {line}" for line in record.assumptions)))
    return "\n\n".join(parts) + "\n"
